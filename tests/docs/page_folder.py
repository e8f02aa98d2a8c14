"""What pages take for granted: pictures, folders and models by name, and variables that nothing on the page makes.

The code of a page runs in a folder of its own. Whatever of FILES its blocks name is made there first; whatever of
VALUES they use without making it is made when it is first used. All pictures are drawn scenes, and every model is the
bundled one.
"""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from page_blocks import BadPage
from PIL import Image

import neuronscope as ns
from neuronscope.architecture.digests import Unchanged
from neuronscope.evaluate.truth import planted
from neuronscope.loading.load import BUNDLED
from neuronscope.locate import Located
from neuronscope.models.identity import settings_of
from neuronscope.samples.scenes import Item, Scene, render, write_coco
from report_samples import make_index, make_run

#: The bear's box as pages give it, (x, y, width, height) in pixels, and the side of the pictures that it fits.
BEAR_BOX = (120, 60, 310, 280)
SIDE = 576
_FRAME = 128


def picture(place: str, *items: tuple[str, str, tuple[float, ...]], side: int = SIDE) -> Image.Image:
    """A drawn scene of side x side pixels; items are (concept, colour, box in pixels of SIDE x SIDE)."""
    scale = _FRAME / SIDE
    drawn = tuple(
        Item(concept, colour, (x * scale, y * scale, w * scale, h * scale), angle=0.0, mirror=False, seed=7)
        for concept, colour, (x, y, w, h) in items
    )
    return render(Scene(5, place, drawn)).image.resize((side, side), Image.Resampling.BICUBIC)


_BEAR = ("bear", "brown", (125, 65, 300, 270))
_PICTURES: Mapping[str, tuple[Any, ...]] = {
    "bear.jpg": ("forest", _BEAR),
    "image.jpg": ("forest", _BEAR),
    "photo.jpg": ("forest", _BEAR),
    "bear-2.jpg": ("snow", _BEAR),
    "bear-edited.png": ("forest",),
    "before.jpg": ("forest", _BEAR),
    "after.jpg": ("forest",),
    "alone.jpg": ("street", ("bus", "red", (90, 200, 330, 190))),
    "bus.jpg": ("street", ("bus", "red", (90, 200, 330, 190))),
    "dog-same-place.jpg": ("forest", ("horse", "brown", (125, 65, 300, 270))),  # nothing draws dogs
}


@cache
def _drawn(name: str) -> bytes:
    """The content of a picture's file."""
    place, *items = _PICTURES[name]
    content = io.BytesIO()
    picture(place, *items).save(content, Image.registered_extensions()[Path(name).suffix], quality=95)
    return content.getvalue()


def _picture(path: Path) -> None:
    path.write_bytes(_drawn(path.name))


def _mask(path: Path) -> None:
    x, y, w, h = BEAR_BOX
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    mask[y : y + h, x : x + w] = 255
    Image.fromarray(mask).save(path)


def _once(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Makes a folder the first time, and copies of it after that."""

    @cache
    def made() -> tempfile.TemporaryDirectory[str]:  # held until this process ends
        held = tempfile.TemporaryDirectory()
        make(Path(held.name) / "made")
        return held

    return lambda folder: shutil.copytree(Path(made().name) / "made", folder) and None


@_once
def _pictures(folder: Path) -> None:
    """Four bears, then two other scenes, as large as the model sees them: no page says where something is in them."""
    places = ("forest", "snow", "field", "beach")
    folder.mkdir()
    for k in range(4):
        x, y = 60 + 17 * k, 80 + 40 * (k % 4)
        bear = ("bear", ("brown", "black", "white")[k % 3], (x, y, 290, 225))
        picture(places[k % len(places)], bear, side=_FRAME).save(folder / f"bear-{k:02}.png")
    for k, concept in enumerate(("horse", "bus")):
        item = (concept, "red", (100 + 20 * k, 150, 280, 240))
        picture(places[k], item, side=_FRAME).save(folder / f"other-{k}.png")


@_once
def _scenes(folder: Path) -> None:
    write_coco(folder, count=12, seed=20_000_000)


def _neurons(path: Path) -> None:
    _found().neurons.save(path)


def _run(folder: Path) -> None:
    make_run(folder, folder.with_name(f"{folder.name}-data"))


def _model(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(BUNDLED, target_is_directory=True)


def _index(folder: Path) -> None:
    pictures = folder.with_name(f"{folder.name}-pictures")
    _pictures(pictures)
    make_index(_demo(), pictures, folder)


#: Name on a page -> what makes the file or folder at a path.
FILES: Mapping[str, Callable[[Path], None]] = {
    **dict.fromkeys(_PICTURES, _picture),
    "mask.png": _mask,
    "pictures": _pictures,
    "scenes": _scenes,
    "coco": _scenes,
    "COCO": _scenes,
    "neurons.json": _neurons,
    "RUN": _run,
    "photo-index": _index,
    **dict.fromkeys(("MODEL", "DIR", "M", "path/to/llava-1.5-7b-hf"), _model),
}


def prepare(folder: Path, code: str) -> None:
    """Make in a folder what a page's code names."""
    for name, make in FILES.items():
        if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", code):
            make(folder / name)


class Names(dict[str, Any]):
    """The variables of a page: what its blocks made, else what VALUES makes."""

    def __init__(self, **given: Any) -> None:
        super().__init__(given)
        self._granted: dict[str, Any] = {}

    def __missing__(self, name: str) -> Any:
        if name not in VALUES:
            raise KeyError(name)
        self[name] = self._granted[name] = value = VALUES[name](self)
        return value

    def taken_for_granted(self, *names: str) -> bool:
        """Whether none of these was made by the page itself."""
        return all(name not in self or self[name] is self._granted.get(name) for name in names)


def _sample() -> ns.Sample:
    return ns.Sample(image=Image.open(io.BytesIO(_drawn("bear.jpg"))), concept="bear", boxes=[BEAR_BOX])


@cache
def _demo() -> ns.VLM:
    """The model of pages that load none."""
    return ns.load("demo")


#: The model of other pages as the first of them found it: what watches its weights, and its fingerprint.
_AS_READ: list[tuple[Unchanged, str]] = []


@contextmanager
def model_unchanged() -> Generator[None]:
    """Raise BadPage for code that leaves the model of other pages changed; torch has to have noticed the change."""
    model, processor = _demo().model, _demo().processor
    if not _AS_READ:
        _AS_READ.append((Unchanged(model), _demo().fingerprint))
    before, same = settings_of(model, processor), False
    try:
        yield
    finally:
        same = bool(_AS_READ[0][0]) and settings_of(model, processor) == before
        if not same:
            _AS_READ.clear()
    if not same:
        raise BadPage("the page leaves the model that it did not load changed")


def require_as_read() -> None:
    """After all pages: raise BadPage for a changed model, whatever changed it. This reads all weights."""
    if any(_demo().fingerprint != name for _, name in _AS_READ):
        raise BadPage("a page leaves the model that it did not load changed")


#: What two-stage filtering found, with the method, so that nothing else is ever taken for it.
_LOCATED: dict[object, tuple[ns.TwoStage, Located]] = {}


@contextmanager
def located_once() -> Generator[None]:
    """Two-stage filtering, with which many pages begin, is done once for each method, weights and pair of pictures."""
    real = ns.TwoStage.locate

    def locate(self: ns.TwoStage, vlm: ns.VLM, pair: ns.Counterfactual, **options: Any) -> Located:
        shown = (pair.sample.concept, pair.original.tobytes(), pair.edited.tobytes(), pair.mask.tobytes())
        identity = vlm.identity()
        key = (repr(self), identity["fingerprint"], *shown)
        if key not in _LOCATED:
            _LOCATED[key] = self, real(self, vlm, pair, **options)
        found = _LOCATED[key][1]
        return replace(found, neurons=replace(found.neurons, model=identity))  # the same weights by any name

    with mock.patch.object(ns.TwoStage, "locate", locate):
        yield


@contextmanager
def few_maps() -> Generator[None]:
    """Beside a set's map two of random neurons are painted, in the place of 40: no page shows how they compare."""
    gather: Any = import_module("neuronscope.report.gather")  # the package has a function of that name
    with mock.patch.object(gather, "place", partial(gather.place, draws=2)):
        yield


@cache
def _found() -> Located:
    """The same on every page."""
    return ns.TwoStage().locate(_demo(), ns.counterfactual(_sample()))


def _found_in(page: Names) -> Located:
    """In the page's pair; where neither it nor the model is the page's own, what is known."""
    if page.taken_for_granted("vlm", "sample", "pair"):
        return _found()
    return ns.TwoStage().locate(page["vlm"], page["pair"])


def _folder(pattern: str) -> list[str]:
    folder = Path("pictures")
    if not folder.exists():
        _pictures(folder)
    return [str(path) for path in sorted(folder.glob(pattern))]


#: Variable -> what makes it of the page's other variables.
VALUES: Mapping[str, Callable[[Names], Any]] = {
    "ns": lambda _: ns,
    "vlm": lambda _: _demo(),
    "sample": lambda _: _sample(),
    "pair": lambda page: ns.counterfactual(page["sample"]),
    "found": _found_in,
    "neurons": lambda page: page["found"].neurons,
    "dogs": lambda _: planted(_demo())["horse"],  # nothing draws dogs
    "mask": lambda page: page["pair"].mask,
    "all_heats": lambda page: [ns.heatmap(page["vlm"], page["pair"].original, page["neurons"])],
    "images": lambda _: _folder("other-*")[:2],
    "bears": lambda _: _folder("bear-*")[:2],
    "others": lambda _: _folder("other-*")[:1],
    "no_bears": lambda _: _folder("other-*")[:1],
    "noise": lambda page: ns.Noise(page["neurons"], level=8, draws=2),
    "zero": lambda page: ns.Zero(page["neurons"]),
    "other": lambda page: ns.Zero(ns.layer_matched(page["vlm"], page["neurons"])),
    "change": lambda page: page["zero"],
    "inputs": lambda page: page["vlm"].prepare([page["pair"].original]).tensors,
    "concepts": lambda _: ["bear", "bus"],
}
