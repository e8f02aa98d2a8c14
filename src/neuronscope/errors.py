"""All errors that neuronscope raises for a user's input. Each message names the argument, the value and the choices."""

from __future__ import annotations


def one_line(text: str) -> str:
    """A text with everything escaped that is not printed: line ends, and what a terminal would take for commands."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class NeuronscopeError(Exception):
    """Base class. The command line turns it into exit code 1 and one line on stderr.

    A message is one line, whatever the names and values in it hold.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(one_line(each) if isinstance(each, str) else each for each in args))


class UnsupportedModel(NeuronscopeError):
    """The checkpoint cannot be studied: not a vision-language model, broken files, or a failed self-check."""


class ImageTokenMismatch(NeuronscopeError):
    """The image positions in the prompt and the image features of the model do not agree in number."""


class NoGrid(NeuronscopeError):
    """What was asked for needs image tokens with a place on the image, and this model's have none."""


class NoImagePositions(NeuronscopeError):
    """What was asked for needs image tokens in the decoder's sequence, and this model keeps the image elsewhere."""


class InvalidSample(NeuronscopeError):
    """The image, the boxes or the mask cannot be used, or the sample breaks a condition of the method."""


class ConceptNotNamed(InvalidSample):
    """The model's caption of the original image does not name the concept, so nothing can be located for it."""


class ConceptStillNamed(InvalidSample):
    """The caption of the edited image still names the concept, so the edit is not a counterfactual."""


class OtherConceptRemoved(InvalidSample):
    """The edit took something besides the concept out of the picture."""


class UnsegmentedScript(InvalidSample):
    """A text is in a script that puts no space between words, and nothing at hand can tell where its words end."""


class NotFinite(NeuronscopeError):
    """A number that a result is made of is not finite: NaN or an infinity came out of the model or of a computation."""


class NeuronOutOfRange(NeuronscopeError):
    """A neuron address that the model does not have."""


class HookNeverFired(NeuronscopeError):
    """An intervention or a capture was installed, the model ran, and it was never reached."""


class InvalidOption(NeuronscopeError):
    """An option has a value outside its range, or a name that is not among the choices."""


class ModelInUse(NeuronscopeError):
    """Another thread is changing or reading the model, and what was asked for would see that, or wait for ever."""


class NotEnoughMemory(NeuronscopeError, MemoryError):
    """The device has no room for a single row: batches are halved before, and go on."""


class RunMismatch(NeuronscopeError):
    """Saved results belong to another model, schema or set of settings than the one asked for."""


#: What transformers and torch raise when inputs do not suit a model.
#: StopIteration: processors run out of images for the placeholders of a text.
MODEL_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, StopIteration, TypeError, ValueError)


def is_fault(error: BaseException) -> bool:
    """Whether an error is one, and no wish to stop: panics of Rust, which tokenizers pass on, are no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def suggest(name: object, choices: list[str]) -> str:
    """A sentence for a misspelt name, or something that is none: the nearest choice, then all of them."""
    import difflib

    near = difflib.get_close_matches(name, choices, n=1) if isinstance(name, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Choices: {', '.join(choices)}."
