"""A mask that is learned: how few neurons could carry the edit, sought by gradient instead of by a ranking.

    O'_i <- O'_i + z_i (O'_e,i - O'_i)            at the image tokens, for the candidates i: the best of a ranking
    z_i = clip(s_i (1.1 + 0.1) - 0.1, 0, 1)       hard concrete (Louizos et al. 2018, after Maddison et al. 2017)
    s_i = sigmoid((log u - log(1 - u) + a_i) / b) u uniform in (0, 1), b = 2/3

    loss = mean over draws of max(0, share - r(z)) + price mean_i P(z_i > 0)
    P(z_i > 0) = sigmoid(a_i - b log(0.1 / 1.1))  r: the share of the edit's effect that is recovered (METHODS n2)

a by Adam. Gates begin open, the better in the ranking the wider, and the price closes those that the share does not
need. A gate is open in the end where a_i > 0. With z in {0, 1} this is exchanging a set, as `Exchange` does it. Of the
open ones a tenth after the other, at least one, is shut, those without which the rest recovers most, and in the reverse
order they are ranked; the cut (METHODS n5) then asks of the model itself how many are needed. A ranking adds neurons
one by one; a mask also finds those that do something only together, and shows by how much a ranking's set is too long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..caption.memory import Batches
from ..errors import InvalidOption
from ..fields import finite_number
from ..held import in_turn
from ..hooks import HookSession, Tap
from ..loading import VLM
from ..samples.inpaint import Counterfactual
from ..types import SITES, Json, Site, whole_number
from .difference_x_gradient import DifferenceTimesGradient
from .patching import TOKEN_TARGETS, Exchange
from .picture_row import picture_rows
from .ranking import Ranked, Ranking
from .recovery import Recovery
from .scores import Layout, Pooled, Target, backward_scale, best_first, target_value
from .target import CONCEPT_TOKENS, ConceptToken, concept_word
from .validity import Validity

#: The interval that a concrete variable is stretched to, so that its clipped ends have mass, and its temperature.
_LOW, _HIGH, _HEAT = -0.1, 1.1, 2 / 3
#: Open gates that are shut by what they do, and not by their width.
_EXACT = 100
#: Where gates begin: the best candidate, and the worst.
_BEGIN = (3.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class LearnedMask(Ranking):
    """Gates towards the edited activations, as few open as recover a share of the edit's effect.

    Attributes:
        among: the ranking whose best neurons have gates.
        candidates: how many have; 0 keeps none.
        share: of the edit's effect that the gates are to recover.
        price: of open gates: that of all candidates, beside the share that is lacking.
        steps, lr: of Adam.
        draws: of u at each step, rows of one batch.
        seed: of u.
        target: s, the score of the concept's token whose effect is recovered.
        site: where activations are exchanged.
        concept_token: which sub-tokens of the word s belongs to.
        cut: how many of the open gates are kept, widest first; None keeps all that are open.
        count: how many are open; no option here.
    """

    among: Ranking = field(default_factory=DifferenceTimesGradient.refined)
    candidates: int = 2000
    share: float = 0.75
    price: float = 2.0
    steps: int = 150
    lr: float = 0.1
    draws: int = 4
    seed: int = 0
    target: Target = "logprob"
    site: Site = "neuron"
    concept_token: ConceptToken = "first"
    cut: Recovery | None = field(default_factory=lambda: Recovery(gap=None))
    count: int = field(init=False, default=0)
    name: str = "learned-mask"

    choices: ClassVar = {"target": TOKEN_TARGETS, "site": SITES, "concept_token": CONCEPT_TOKENS}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("candidates", 0), ("steps", 1), ("draws", 1), ("seed", 0)):
            whole_number(name, getattr(self, name), least)
        for name in ("share", "price", "lr"):
            if not finite_number(name, getattr(self, name)) > 0:
                raise InvalidOption(f"{name}={getattr(self, name)} must be a positive number")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """The array "needed" counts the open gates that were shut no later than a neuron's own; 0 where it is not open.

        The array "gate" holds a of every candidate, and less than any of them for all other neurons.

        Raises InvalidSample where the edit does not make the word less likely, so that there is nothing to recover.
        """
        ranked = self.among.score(vlm, pair, validity)
        order = best_first(ranked.arrays[ranked.by].values)[: self.candidates]
        total = Layout(vlm.widths).total
        gates, needed = np.zeros(0, np.float32), np.zeros(total, np.float32)
        if len(order):
            word = concept_word(validity, self.concept_token)
            rows = picture_rows(vlm, pair, word, self.decoding, self.site, ranked.rows)
            Exchange.between(vlm, *rows).require_edit(pair.sample.concept)
            exchange = Exchange.between(vlm, *rows, target=self.target)
            gates = self._learn(vlm, exchange, order)
            wide = order[best_first(gates)[: int((gates > 0).sum())]]
            needed = shut_in_turn(exchange.effects, wide, total)
        values = np.full(total, float(gates.min(initial=0.0)) - 1, np.float32)
        values[order] = gates
        opened = int((gates > 0).sum())
        arrays = {"needed": Pooled(needed), "gate": Pooled(values), **ranked.arrays}
        told: dict[str, Json] = {"candidates": len(order), "open": opened}
        notes = (f"{opened} of {len(order)} gates are open after {self.steps} steps",)
        return Ranked("needed", arrays, site=self.site, keep=opened, provenance={"mask": told}, notes=notes)

    @in_turn
    def _learn(
        self, vlm: VLM, exchange: Exchange, order: Int[np.ndarray, "candidates"]
    ) -> Float[np.ndarray, "candidates"]:
        """a of each candidate."""
        everyone = float(exchange.effects([np.ones(Layout(vlm.widths).total, dtype=bool)])[0])
        if not everyone > 0:  # patching all of them does not lower the score: no gate could
            return np.full(len(order), -1, np.float32)
        gated = Gated(exchange, order)
        rows = 1 if exchange.inputs.rows[0].alone else self.draws
        random, scale = torch.Generator().manual_seed(self.seed), backward_scale(vlm)
        a = torch.linspace(*_BEGIN, len(order)).requires_grad_()
        adam = torch.optim.Adam([a], lr=self.lr)
        batches = Batches(rows)

        def slopes(some: Sequence[Tensor]) -> list[Tensor]:
            recovered = (exchange.clean - gated.scores(hard_concrete(a, torch.stack(list(some))))) / everyone
            lacking = (self.share - recovered).clamp_min(0).sum() / self.draws
            return [torch.autograd.grad(lacking * scale, a)[0] / scale]

        for _ in range(self.steps):
            with torch.enable_grad():
                drawn = [torch.rand(rows, len(order), generator=random) for _ in range(self.draws // rows)]
                a.grad = torch.stack(batches.run(list(torch.cat(drawn).clamp(1e-6, 1 - 1e-6)), slopes)).sum(0)
                (self.price * open_probability(a).mean()).backward()
            adam.step()
            adam.zero_grad()
        return a.detach().numpy()


def shut_in_turn(
    effects: Callable[[list[Bool[np.ndarray, "neurons"]]], Float[np.ndarray, "sets"]],
    members: Int[np.ndarray, "members"],
    total: int,
) -> Float[np.ndarray, "neurons"]:
    """How many members were shut no later than each: 1 for the first, as many as there are for the last; 0 for others.

    Of members in order, the widest gate first, those beyond the first hundred are shut as they are. Then in every round
    each member is left out by itself; those without which the `effects` of the rest are largest go.
    """
    needed = np.zeros(total, np.float32)
    needed[members] = np.arange(len(members), 0, -1)
    left = np.sort(members[:_EXACT])
    gone = len(members) - len(left)
    while len(left):
        masks = np.zeros((len(left), total), dtype=bool)
        masks[:, left] = True
        masks[np.arange(len(left)), left] = False
        shut = best_first(effects(list(masks)))[: max(1, len(left) // 10)]
        for one in shut:
            gone += 1
            needed[left[one]] = gone
        left = np.delete(left, shut)
    return needed


def hard_concrete(a: Float[Tensor, "n"], u: Float[Tensor, "draws n"]) -> Float[Tensor, "draws n"]:
    """Gates from 0 to 1, both included, by the inverse of their distribution at uniform u."""
    s = torch.sigmoid((u.log() - (-u).log1p() + a) / _HEAT)
    return (s * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def open_probability(a: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """P(z > 0) of each gate."""
    return torch.sigmoid(a - _HEAT * float(np.log(-_LOW / _HIGH)))


class Gated:
    """A teacher-forced row whose candidates stand between their own and the other picture's activations.

    Args:
        exchange: the row, and what neurons are exchanged for.
        candidates: indices on the flat axis of all neurons (:class:`Layout`).
    """

    def __init__(self, exchange: Exchange, candidates: Int[np.ndarray, "n"]) -> None:
        self._exchange = exchange
        self._at = torch.as_tensor(exchange.inputs.images[0].positions)
        layout = Layout(exchange.vlm.widths)
        self._columns: dict[int, tuple[Tensor, Tensor]] = {}
        where = [layout.split(int(flat)) for flat in candidates]
        for layer in sorted({layer for layer, _ in where}):
            own = [column for column, (one, _) in enumerate(where) if one == layer]
            self._columns[layer] = (torch.tensor(own), torch.tensor([where[column][1] for column in own]))

    def scores(self, gates: Float[Tensor, "rows n"]) -> Float[Tensor, "rows"]:
        """s of the row under each row of gates; differentiable where the gates are."""
        one = self._exchange
        taps = [Tap(layer, one.site, self._gate(layer, gates)) for layer in self._columns]
        with HookSession(one.vlm.structure, taps):
            logits = one.vlm.logits(one.inputs.repeat(len(gates)), last=one.word.farthest).float()
        entries, average = one.word.entries, one.word.average
        return torch.stack([target_value(row, entries, [entries], one.target, average) for row in logits]).cpu()

    def _gate(self, layer: int, gates: Float[Tensor, "rows n"]) -> Callable[[Tensor], Tensor]:
        columns, units = self._columns[layer]

        def run(z: Float[Tensor, "rows sequence width"]) -> Tensor:
            at, there = self._at.to(z.device), units.to(z.device)
            own = z.index_select(1, at)
            share = gates[:, columns].to(z)[:, None, :]
            other = self._exchange.values[layer].to(z.device)[:, there]
            mixed = torch.lerp(own[..., there], other.expand_as(own[..., there]), share.expand_as(own[..., there]))
            return z.index_copy(1, at, own.index_copy(2, there, mixed))

        return run
