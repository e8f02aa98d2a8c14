"""Captions of images, plain and under interventions.

:func:`generate_captions` is the specification: transformers' own greedy `generate`. :class:`Captioner` writes the same
captions faster. In the order in which a caption passes through them: clean (states of the image without a change),
prefill (what a change does to the prompt's states), drafts and generation (the new tokens), ties (captions that hang
on less than rounding), memory (what is kept
between calls), shortcuts (the switches), proof (each switch tried on the model before it is used).
"""

from ..models.decoding import Decoding as Decoding
from .captioner import Captioner as Captioner
from .captions import Caption as Caption
from .captions import clean_captions as clean_captions
from .captions import generate_captions as generate_captions
from .ties import near_ties as near_ties
