"""Where the image is: token positions, grids, pixels; and which tokens spell a word."""

from .frame import Frame as Frame
from .frame import measure_frames as measure_frames
from .image import ImageTokens as ImageTokens
from .image import Tile as Tile
from .layout import Separators as Separators
from .layout import equal_cells as equal_cells
from .layout import packed_cells as packed_cells
from .layout import packing_module as packing_module
from .layout import pictures as pictures
from .layout import two_grids as two_grids
from .several import as_alone as as_alone
from .several import require_unpadded as require_unpadded
from .several import share_out as share_out
from .words import first_token as first_token
from .words import spoken as spoken
from .words import tokens_of_span as tokens_of_span
