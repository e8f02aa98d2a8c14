"""Pages that people can share: a located concept, or a whole run, as one HTML file that needs no network."""

from .curves import Curve as Curve
from .curves import locate_watched as locate_watched
from .evidence import Evidence as Evidence
from .evidence import ShownNeuron as ShownNeuron
from .evidence import Spoken as Spoken
from .evidence import WordScore as WordScore
from .gather import Origin as Origin
from .gather import Test as Test
from .gather import gather as gather
from .located import write_located as write_located
from .share import card as card
from .share import push_to_hub as push_to_hub
