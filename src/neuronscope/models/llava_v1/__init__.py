"""LLaVA v1 as a transformers model: one of the three of Pan et al., which transformers itself does not have.

Importing this package makes AutoConfig, AutoModelForImageTextToText and AutoProcessor know the model type "llava_v1".
"""

from .modeling import LlavaV1Config as LlavaV1Config
from .modeling import LlavaV1ForConditionalGeneration as LlavaV1ForConditionalGeneration
from .processing import LlavaV1Processor as LlavaV1Processor


def register() -> None:
    """Tell transformers' Auto classes about the model. Doing it twice changes nothing."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    AutoConfig.register(LlavaV1Config.model_type, LlavaV1Config, exist_ok=True)
    AutoModelForImageTextToText.register(LlavaV1Config, LlavaV1ForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(LlavaV1Config, LlavaV1Processor, exist_ok=True)


register()
