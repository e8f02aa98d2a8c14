"""What a word of a text is: the one place that decides it, for captions, concepts and every metric over them."""

from .cut import Token as Token
from .cut import segment as segment
from .cut import tokens_of as tokens_of
from .cut import wordless as wordless
from .cut import words_of as words_of
from .fold import DOTLESS as DOTLESS
from .fold import GREEK as GREEK
from .fold import Folded as Folded
from .fold import Reading as Reading
from .fold import fold as fold
from .fold import folded as folded
from .scripts import segmenter as segmenter
from .scripts import spaced as spaced
