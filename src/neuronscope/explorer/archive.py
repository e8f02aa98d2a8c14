"""The commands that make again what a person did by hand, and an archive in which they work.

The archive holds the picture, the mask, the result as `neuronscope locate` leaves it, its page and both recipes; a
picture that came without a file of its own is called `image.png` in the recipes, as it is in the archive.
"""

from __future__ import annotations

import io
import shlex
import zipfile
from pathlib import Path

from PIL import Image

from ..files import write_bytes
from ..models.decoding import spelled
from .state import Found, State

#: What the archive calls the mask of a brush.
MASK = "mask.png"


def python(found: Found, state: State) -> str:
    """All of it with the library: the set, and the captions before, after and under the control."""
    if not len(found.evidence.neurons):
        return found.evidence.python
    change, picture = state.change, state.picture
    assert picture is not None
    asked = spelled(state.decoding)
    subset = "found.neurons" if change.count is None else f"found.neurons[:{change.count}]"
    lines = [
        found.evidence.python,
        "",
        f"neurons = {subset}",
        f"control = ns.layer_matched(vlm, neurons, {change.seed})",
        f"picture = {picture.path!r}",
        f"print(vlm.caption(picture{asked}))",
    ]
    for members in ("neurons", "control"):
        made = change.python(found.evidence.neurons.concept, members, asked if change.operation == "swap" else "")
        if change.operation == "swap":
            lines += [f"with {made}:", f"    print(vlm.caption(picture{asked}))"]
        else:
            lines.append(f"print(vlm.captions([picture], {made}{asked})[0])")
    return "\n".join(lines)


def shell(found: Found) -> str:
    """The same set, tested, and its page. Interventions of other kinds than noise and zero have no command."""
    out = "neuronscope-explore"
    return f"{found.evidence.command} --out {out}\n{shlex.join(['neuronscope', 'report', out, '--out', 'report.html'])}"


def bundle(path: Path, found: Found, state: State, page: Path) -> Path:
    """An archive with all that the recipes need and make; unpacked, `neuronscope report` reads it as a result."""
    result = path.parent / "result"
    found.evidence.save(result)
    texts = {"again.py": python(found, state) + "\n", "again.sh": shell(found) + "\n"}
    pictures = {"image.png": found.pair.original}
    mask = found.marks.mask(found.pair.original.size)
    if mask is not None:
        pictures[MASK] = Image.fromarray(mask)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for name, picture in pictures.items():
            archive.writestr(name, _png(picture))
        for file in sorted(one for one in result.rglob("*") if one.is_file()):
            archive.write(file, file.relative_to(result).as_posix())
        archive.write(page, "report.html")
    write_bytes(path, buffer.getvalue())
    return path


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
