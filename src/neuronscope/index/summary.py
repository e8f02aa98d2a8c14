"""What is kept of a layer's neurons over some pictures, made as activations come, and joined with other such summaries.

Of every neuron: the pictures in which its largest activation is largest, and those in which its smallest is smallest
(of equal ones the earlier); histograms of its activations at image tokens and of its largest one in each picture; and
the sums that means and standard deviations are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..models.finite import finite_scores
from .bins import BINS, bins_of, counts_of

#: What a summary is called in files -> its type and the sizes of its axes behind the neurons; None: pictures kept.
ARRAYS: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "top_value": ("<f4", (None,)),
    "top_picture": ("<i4", (None,)),
    "bottom_value": ("<f4", (None,)),
    "bottom_picture": ("<i4", (None,)),
    "tokens": ("<i8", (BINS,)),
    "pictures": ("<i4", (BINS,)),
    "sum": ("<f8", ()),
    "squares": ("<f8", ()),
    "peak_sum": ("<f8", ()),
    "peak_squares": ("<f8", ()),
}


@dataclass(frozen=True)
class Summary:
    """One layer's neurons over some pictures.

    Attributes:
        top_value, top_picture: [width, kept] largest activations, most first, and in which pictures.
        bottom_value, bottom_picture: smallest ones, least first.
        tokens: [width, bins] activations at image tokens by bin (bins.py).
        pictures: [width, bins] the same of the largest activation in each picture.
        sum, squares: [width] over image tokens.
        peak_sum, peak_squares: [width] of the largest activation in each picture.
    """

    top_value: Float[np.ndarray, "width kept"]
    top_picture: Int[np.ndarray, "width kept"]
    bottom_value: Float[np.ndarray, "width kept"]
    bottom_picture: Int[np.ndarray, "width kept"]
    tokens: Int[np.ndarray, "width bins"]
    pictures: Int[np.ndarray, "width bins"]
    sum: Float[np.ndarray, "width"]
    squares: Float[np.ndarray, "width"]
    peak_sum: Float[np.ndarray, "width"]
    peak_squares: Float[np.ndarray, "width"]

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, each of the type that files have."""
        return {name: np.ascontiguousarray(getattr(self, name), kind) for name, (kind, _) in ARRAYS.items()}

    def narrow(self) -> dict[str, np.ndarray]:
        """The same for a part, counts in the fewest bytes that hold them: packing their zeros took long."""
        found = self.arrays()
        for name in ("tokens", "pictures"):
            found[name] = found[name].astype(np.min_scalar_type(int(found[name].max(initial=0))))
        return found

    @classmethod
    def wide(cls, arrays: Mapping[str, np.ndarray]) -> Summary:
        """From the arrays of a part."""
        return cls(**{name: np.asarray(arrays[name], kind) for name, (kind, _) in ARRAYS.items()})

    def joined(self, later: Summary, shift: int, kept: int) -> Summary:
        """With a summary of later pictures, whose numbers there begin at 0 and here at `shift`."""
        top = _best(
            np.concatenate([self.top_value, later.top_value], 1),
            np.concatenate([self.top_picture, later.top_picture + shift], 1),
            kept,
        )
        bottom = _best(
            -np.concatenate([self.bottom_value, later.bottom_value], 1),
            np.concatenate([self.bottom_picture, later.bottom_picture + shift], 1),
            kept,
        )
        added = {name: getattr(self, name) + getattr(later, name) for name in _ADDED}
        return Summary(top[0], top[1], 0 - bottom[0], bottom[1], **added)


_ADDED = ("tokens", "pictures", "sum", "squares", "peak_sum", "peak_squares")


class Reducer:
    """Sees the activations of up to `pictures` pictures and keeps what a :class:`Summary` is made of.

    Everything stays on the device where the activations are, until :meth:`finish`.
    """

    def __init__(self, pictures: int, kept: int) -> None:
        self._pictures = pictures
        self._kept = kept
        self._layers: dict[int, _Layer] = {}

    def see(self, picture: int, layer: int, activations: Float[Tensor, "tokens width"]) -> None:
        """One layer of one picture, whose number is below `pictures`."""
        if layer not in self._layers:
            self._layers[layer] = _Layer(self._pictures, activations.shape[1], activations.device)
        self._layers[layer].see(picture, activations.float())

    def finish(self, pictures: int) -> dict[int, Summary]:
        """The summaries of all layers, of the first `pictures` pictures, all of which were seen.

        Raises NotFinite for activations that are no numbers.
        """
        return {layer: self._layers[layer].finish(pictures, self._kept, layer) for layer in sorted(self._layers)}


#: Image tokens of a layer that are counted together.
_COUNTED = 256


class _Layer:
    def __init__(self, pictures: int, width: int, device: torch.device) -> None:
        def zeros(*shape: int, kind: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=kind, device=device)

        self.highest = zeros(pictures, width, kind=torch.float32)
        self.lowest = zeros(pictures, width, kind=torch.float32)
        self.tokens = zeros(width, BINS, kind=torch.int32)
        self.sum = zeros(width, kind=torch.float64 if device.type != "mps" else torch.float32)
        self.squares = torch.zeros_like(self.sum)
        self.waiting: list[Tensor] = []  # bins that are not counted yet: a table of all bins is as large as many tokens

    def see(self, picture: int, values: Float[Tensor, "tokens width"]) -> None:
        torch.amax(values, 0, out=self.highest[picture])
        torch.amin(values, 0, out=self.lowest[picture])
        self.waiting.append(bins_of(values).to(torch.uint8))
        if sum(map(len, self.waiting)) >= _COUNTED:
            self.count()
        self.sum += values.sum(0)
        self.squares += values.square().sum(0)

    def count(self) -> None:
        """Add what is waiting to the histogram."""
        self.tokens += counts_of(torch.cat(self.waiting))
        self.waiting.clear()

    def finish(self, pictures: int, kept: int, layer: int) -> Summary:
        if self.waiting:
            self.count()
        highest, lowest = (one[:pictures].T.cpu().numpy() for one in (self.highest, self.lowest))
        finite_scores({f"an activation of layer {layer}": np.stack([highest, lowest])})
        number = np.broadcast_to(np.arange(pictures), highest.shape)
        top, bottom = _best(highest, number, kept), _best(-lowest, number, kept)
        peaks = counts_of(bins_of(self.highest[:pictures]))
        tall = highest.astype(np.float64)
        return Summary(
            top_value=top[0],
            top_picture=top[1],
            bottom_value=0 - bottom[0],  # no minus before zero
            bottom_picture=bottom[1],
            tokens=self.tokens.cpu().numpy().astype(np.int64),
            pictures=peaks.cpu().numpy().astype(np.int32),
            sum=self.sum.double().cpu().numpy(),
            squares=self.squares.double().cpu().numpy(),
            peak_sum=tall.sum(1),
            peak_squares=np.square(tall).sum(1),
        )


def _best(
    values: Float[np.ndarray, "width n"], numbers: Int[np.ndarray, "width n"], kept: int
) -> tuple[Float[np.ndarray, "width kept"], Int[np.ndarray, "width kept"]]:
    """The largest of each row, most first; of equal ones the one that stands first."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :kept]
    best, where = (np.take_along_axis(each, order, 1) for each in (values, numbers))
    return best.astype(np.float32), where.astype(np.int32)
