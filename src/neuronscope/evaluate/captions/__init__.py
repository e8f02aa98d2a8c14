"""How alike captions are: BLEU, ROUGE, BERTScore and CLIPScore behind one protocol (METHODS d, Table III)."""

from .bertscore import BertScore as BertScore
from .clipscore import ClipScore as ClipScore
from .overlap import Bleu as Bleu
from .overlap import Rouge as Rouge
from .registry import METRICS as METRICS
from .registry import metric as metric
from .registry import releases as releases
from .registry import require as require
from .registry import require_here as require_here
from .registry import scorer as scorer
from .scored import CaptionMetric as CaptionMetric
from .scored import Scored as Scored
from .scored import alike as alike
from .scored import average as average
from .scored import compare as compare
