"""MiniGPT-4 as a transformers model: the model of the two-stage paper, which transformers itself does not have.

Importing this package makes AutoConfig, AutoModelForImageTextToText and AutoProcessor know the model type "minigpt4".
"""

from .modeling import MiniGPT4Config as MiniGPT4Config
from .modeling import MiniGPT4ForConditionalGeneration as MiniGPT4ForConditionalGeneration
from .modeling import MiniGPT4Model as MiniGPT4Model
from .processing import MiniGPT4Processor as MiniGPT4Processor


def register() -> None:
    """Tell transformers' Auto classes about the model. Doing it twice changes nothing."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    AutoConfig.register(MiniGPT4Config.model_type, MiniGPT4Config, exist_ok=True)
    AutoModelForImageTextToText.register(MiniGPT4Config, MiniGPT4ForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor, exist_ok=True)


register()
