"""What to write instead, where a picture was given as something that is nearly one, and where memory was not enough.

Nothing is guessed: whether three planes come first, or whether numbers are shares of 1 or of 255, changes what a model
sees. So pictures are files, pictures of PIL and arrays uint8 [height, width, 3]; other things are refused with the line
that makes one of them. Only names are looked at: neither numpy nor torch is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

#: What failed allocations say on the CPU, where torch has no error class of its own for them.
_CPU_MESSAGES = ("can't allocate memory", "not enough memory")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/?/?")  # two letters at least: C: is a drive


def address_cure(text: str) -> str:
    """What to do with a text that is an address and no path; empty for any other."""
    found = _SCHEME.match(text)
    if found is None or ("/" not in found[0] and found[1].lower() != "data"):
        return ""
    scheme = found[1].lower()
    if scheme == "file":
        return "is an address: give the path alone, without file://"
    if scheme == "data":
        return "is a picture written as text: give PIL.Image.open(io.BytesIO(base64.b64decode(text.partition(',')[2])))"
    return "is a URL, and nothing is fetched from the network: download it, and give the file"


def picture_cure(value: object) -> str:
    """What a value is that is no picture, and how to make one of it; empty where nothing is known of it."""
    thing: Any = value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "bytes of a file: give PIL.Image.open(io.BytesIO(data))"
    if hasattr(value, "read") and hasattr(value, "seek"):
        return "an open file: give its path, or PIL.Image.open(file)"
    if isinstance(value, Mapping):
        if "bytes" in (row := cast("Mapping[object, object]", value)) or "path" in row:
            return 'a row of a data set: give PIL.Image.open(io.BytesIO(row["bytes"])), or row["path"]'
        return ""
    if not (hasattr(value, "dtype") and hasattr(value, "shape")):
        return ""
    kind = str(thing.dtype).rpartition(".")[2]
    numpy = type(value).__module__.partition(".")[0] == "numpy"
    array = "image" if numpy else "np.asarray(image.cpu())" if hasattr(value, "cpu") else "np.asarray(image)"
    shape = tuple(int(side) for side in thing.shape)
    told = f"{'an array' if numpy else 'a tensor'} of shape {shape} and type {kind}"
    form, way = _planes(shape)
    if not form:
        return f"{told}: one picture is uint8 [height, width, 3]"
    way = f"{array}{way}"
    if kind == "uint8":
        if numpy and shape[-1] == 3 and len(shape) == 3:
            return ""
        return f"{told}, {form}: give {way}"
    if kind == "bfloat16":
        way = way.replace("image.cpu()", "image.float().cpu()")
    return f"{told}, {form}: {_numbers(thing, kind, way)}"


def _planes(shape: tuple[int, ...]) -> tuple[str, str]:
    """How the axes are read, and what puts them in order; empty where they are no picture's."""
    if len(shape) == 4 and shape[0] == 1:
        form, way = _planes(shape[1:])
        return form and f"a batch of one, {form}", f"[0]{way}"
    if len(shape) == 2:
        return "grey", "[..., None].repeat(3, -1)"
    if len(shape) != 3:
        return "", ""
    if shape[2] == 3:
        return "[height, width, 3]", ""
    if shape[0] == 3:
        return "colours first", ".transpose(1, 2, 0)"
    if shape[2] == 4:
        return "with transparency", "[..., :3]"
    if shape[0] == 4:
        return "colours first and with transparency", ".transpose(1, 2, 0)[..., :3]"
    if shape[2] == 1:
        return "grey", ".repeat(3, -1)"
    if shape[0] == 1:
        return "grey", "[0][..., None].repeat(3, -1)"
    return "", ""


def _numbers(thing: Any, kind: str, way: str) -> str:
    """How numbers become 0 to 255."""
    if kind == "bool":
        return f'give ({way} * 255).astype("uint8")'
    least, most = (float(one) for one in (thing.min(), thing.max())) if 0 not in thing.shape else (0.0, 0.0)
    if kind.startswith(("float", "bfloat")):
        if not (least >= 0 and most <= 255):
            return (
                f"its numbers go from {least:.3g} to {most:.3g}, so give the picture as it was before it was normalised"
            )
        if most <= 1:
            return f'of numbers up to 1, give ({way} * 255).round().astype("uint8")'
    elif not (least >= 0 and most <= 255):
        return f"its numbers go from {least:.0f} to {most:.0f}, so scale them to 0 to 255 and give uint8"
    return f'give {way}.astype("uint8")'


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


def memory_cure(error: BaseException) -> str:
    """What needs less memory, where one row was too much."""
    said = next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"{said[:200]}. A smaller picture or max_pixels, --dtype bfloat16, 8bit or 4bit, fewer "
        "--max-new-tokens, or device_map='auto' need less; `neuronscope check MODEL --estimate` says how much"
    )
