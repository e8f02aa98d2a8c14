"""Tiny random models of any size, with no download: for bug reports and for tests of your own code."""

from .cross_attention import CROSS_ATTENTION as CROSS_ATTENTION
from .cross_attention import tiny_cross_attention as tiny_cross_attention
from .llava import SPECIAL as SPECIAL
from .llava import WORDS as WORDS
from .llava import tiny_model as tiny_model
from .llava import tiny_processor as tiny_processor
from .llava import tiny_tokenizer as tiny_tokenizer
from .llava import tiny_vlm as tiny_vlm
