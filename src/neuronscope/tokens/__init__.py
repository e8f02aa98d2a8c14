"""Where the image is: token positions, grids, pixels; and which tokens spell a word."""

from .frame import Frame as Frame
from .frame import measure_frame as measure_frame
from .image import ImageTokens as ImageTokens
from .words import first_token as first_token
from .words import tokens_of_span as tokens_of_span
