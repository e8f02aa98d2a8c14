"""mPLUG-Owl2 as a transformers model: one of the three of Pan et al., which transformers itself does not have.

Importing this package makes AutoConfig, AutoModelForImageTextToText and AutoProcessor know the model type "mplug_owl2".
"""

from .modeling import MPLUGOwl2Config as MPLUGOwl2Config
from .modeling import MPLUGOwl2ForConditionalGeneration as MPLUGOwl2ForConditionalGeneration
from .processing import MPLUGOwl2Processor as MPLUGOwl2Processor


def register() -> None:
    """Tell transformers' Auto classes about the model. Doing it twice changes nothing."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    AutoConfig.register(MPLUGOwl2Config.model_type, MPLUGOwl2Config, exist_ok=True)
    AutoModelForImageTextToText.register(MPLUGOwl2Config, MPLUGOwl2ForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(MPLUGOwl2Config, MPLUGOwl2Processor, exist_ok=True)


register()
