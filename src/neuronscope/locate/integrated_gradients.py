"""Integrated gradients of a neuron, from zero to its activation (Dai et al. 2022; METHODS c).

    Attr[p, i] = w[p, i] sum_j a_j' dP(c | alpha_j w) / d n[p, i]        w: clean activations at the positions p

    rule      alpha_j                  a_j' = 1/m                        (m = 20; zero baseline)
    right     j / m,       j = 1..m    the published formula
    left      (j-1) / m,   j = 1..m    the published code
    midpoint  (j-1/2) / m, j = 1..m    its error shrinks with m squared

The published formula scales one neuron at a time. In path "layer" all neurons of a layer are scaled together, one path
for each layer, L m passes (the published code). In path "joint" all layers are, m passes. That is an approximation:
while a layer is attributed to, the others are scaled down too, and since each is held at alpha times its clean
activations, what a neuron does to later FFNs *at the positions* is not counted. Completeness holds on each path,
sum Attr = P(w) - P(0), for the layer or for all of them; how far the sum with m steps misses it is reported. In two
kinds of models it is missed whatever m is, and the notes say so: a norm after the FFN (`FFN.after`) undoes the scaling
except close to zero; and a token that changes its expert along the path makes the target jump, which no gradient sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..caption.memory import Batches
from ..given import checked_methods
from ..held import in_turn
from ..hooks import HookSession, Tap
from ..loading import VLM
from ..models.loaded import Inputs
from ..samples.inpaint import Counterfactual
from ..types import SITES, Site, whole_number
from .ranking import Ranked, Ranking
from .scores import POOLS, TARGETS, Pool, Pooled, Target, backward_scale, no_neurons, read_layers, reduce_patches
from .scores import target_value as value_of
from .target import CONCEPT_TOKENS, POSITIONS, ConceptToken, Position, Word, concept_word, positions_of
from .validity import Validity

Path: TypeAlias = Literal["joint", "layer"]
#: rule -> where in its step a gradient is taken.
Rule: TypeAlias = Literal["left", "right", "midpoint"]
_OFFSET: Mapping[Rule, float] = {"left": 0.0, "midpoint": 0.5, "right": 1.0}


@checked_methods
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Ranking):
    """Dai et al.'s attribution, at the image tokens by default, as other methods are compared there.

    Attributes:
        steps: m.
        rule: where each step's gradient is taken.
        path: what is scaled together: all layers, or one layer at a time (L times the cost).
        position: neurons at the image tokens, or at the position that predicts the concept's token (the paper's).
        target: probability of the token (the paper), log-probability or logit.
        pool: over image tokens; with "sum" the scores of all neurons sum to the change of the target.
        site: where activations are scaled.
        concept_token: which sub-tokens of the word the target belongs to.
        batch_size: how many steps are rows of one batch; no effect on the result.
    """

    steps: int = 20
    rule: Rule = "midpoint"
    path: Path = "joint"
    position: Position = "image"
    target: Target = "prob"
    pool: Pool = "sum"
    site: Site = "neuron"
    concept_token: ConceptToken = "first"
    batch_size: int = 8
    name: str = "integrated-gradients"

    choices: ClassVar = {
        "rule": list(_OFFSET),
        "path": get_args(Path),
        "position": POSITIONS,
        "target": tuple(t for t in TARGETS if t != "contrast"),
        "pool": POOLS,
        "site": SITES,
        "concept_token": CONCEPT_TOKENS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("steps", self.steps, 1)
        whole_number("batch_size", self.batch_size, 1)

    @classmethod
    def as_published(cls) -> IntegratedGradients:
        """The published code: one layer at a time, left sums, where the word is predicted."""
        return cls(path="layer", rule="left", position="predict", name="integrated-gradients-published")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "attribution" holds it for all neurons."""
        word = concept_word(validity, self.concept_token)
        inputs = word.inputs(vlm, pair.original, self.decoding)
        clean = clean_activations(vlm, inputs, word, self.position, self.site)
        studied = list(vlm.structure.studied)
        paths = [studied] if self.path == "joint" else [[layer] for layer in studied]
        found = no_neurons(vlm)
        changes: list[tuple[float, float]] = []  # what the attributions of a path sum to, and what they should
        for layers in paths:
            scaled = {layer: clean[layer] for layer in layers}
            gradients, change = self._integrate(vlm, inputs, word, scaled)
            total = 0.0
            for layer in layers:
                attribution = clean[layer].float() * gradients[layer]
                total += float(attribution.double().sum())
                values, patches = reduce_patches(attribution, self.pool)
                found[layer] = (values.cpu(), patches.cpu())
            changes.append((total, change))
        pooled = Pooled.of(found)
        pooled = pooled if self.position == "image" else Pooled(pooled.values)
        total, change = max(changes, key=lambda pair: abs(pair[0] - pair[1]))
        error = abs(total - change)
        where = "" if self.path == "joint" else " in the worst layer"
        return Ranked(
            "attribution",
            {"attribution": pooled},
            site=self.site,
            provenance={"completeness": {"error": error, "attributed": total, "change": change}},
            notes=(
                f"completeness error {error:.3g} of a change of {self.target} by {change:.3g}{where}",
                *_obstacles(vlm),
            ),
        )

    def _integrate(
        self, vlm: VLM, inputs: Inputs, word: Word, clean: Mapping[int, Float[Tensor, "_ _"]]
    ) -> tuple[dict[int, Float[Tensor, "_ _"]], float]:
        """The mean gradient along the path of each scaled layer, and target(1) - target(0)."""
        inner = [(j + _OFFSET[self.rule]) / self.steps for j in range(self.steps)]
        # The two ends are there for completeness; with weight 0 they add nothing to the sum.
        nodes = [(0.0, 0.0), *((alpha, 1 / self.steps) for alpha in inner), (1.0, 0.0)]
        sums = {layer: torch.zeros_like(values, dtype=torch.float32) for layer, values in clean.items()}

        def add(some: Sequence[tuple[float, float]]) -> list[float]:
            values, gradients = scaled_gradients(vlm, inputs, word, clean, some, self)
            for layer, gradient in gradients.items():
                sums[layer] += gradient
            return values

        reached = Batches(1 if inputs.rows[0].alone else self.batch_size).run(nodes, add)
        return sums, reached[-1] - reached[0]


def _obstacles(vlm: VLM) -> Iterator[str]:
    """Why the sum may miss completeness however many steps there are."""
    ffns = vlm.structure.ffns
    if any(ffn.after is not None for ffn in ffns):
        yield "this model normalises its FFNs' outputs, which undoes the scaling: more steps do not help completeness"
    if any(ffn.experts for ffn in ffns):
        yield "tokens may change their expert along the path: more steps do not help completeness"


def clean_activations(
    vlm: VLM, inputs: Inputs, word: Word, position: Position, site: Site
) -> dict[int, Float[Tensor, "_ _"]]:
    """layer -> activations [positions, width] of one row where they will be scaled, in the model's own dtype."""
    clean: dict[int, Tensor] = {}

    def use(layer: int, z: Tensor) -> None:
        clean[layer] = z[0, positions_of(inputs, word.entries, position, z.shape[1]).to(z.device)].detach()

    read_layers(vlm, inputs, site, use)
    return clean


@in_turn
def scaled_gradients(
    vlm: VLM,
    inputs: Inputs,
    word: Word,
    clean: Mapping[int, Float[Tensor, "_ _"]],
    nodes: Sequence[tuple[float, float]],
    options: IntegratedGradients,
) -> tuple[list[float], dict[int, Float[Tensor, "_ _"]]]:
    """Targets with activations scaled by each alpha, and layer -> weighted sum of their gradients.

    `nodes` are (alpha, weight); each is a row of one batch.
    """
    leaves: dict[int, Tensor] = {}

    def replace(layer: int) -> Callable[[Tensor], Tensor]:
        def run(z: Tensor) -> Tensor:
            alphas = torch.tensor([alpha for alpha, _ in nodes], device=z.device, dtype=z.dtype)
            leaves[layer] = (alphas[:, None, None] * clean[layer].to(z.device)).requires_grad_()
            at: Int[Tensor, "positions"] = positions_of(inputs, word.entries, options.position, z.shape[1]).to(z.device)
            return z.index_copy(1, at, leaves[layer])

        return run

    scale = backward_scale(vlm)
    with torch.enable_grad():
        with HookSession(vlm.structure, [Tap(layer, options.site, replace(layer)) for layer in clean]):
            logits = vlm.logits(inputs.repeat(len(nodes)), last=word.farthest).float()
        rows = [value_of(row, word.entries, [word.entries], options.target, word.average) for row in logits]
        y = torch.stack([weight * value for value, (_, weight) in zip(rows, nodes, strict=True)]).sum()
        # Last-layer neurons at image positions reach no logit (identity 4): their gradient is a true zero.
        order = list(clean)
        found = torch.autograd.grad(y * scale, [leaves[layer] for layer in order], allow_unused=True)
    gradients = cast("tuple[Tensor | None, ...]", found)
    summed = {
        layer: torch.zeros_like(clean[layer], dtype=torch.float32)
        if gradient is None
        else gradient.float().sum(0) / scale
        for layer, gradient in zip(order, gradients, strict=True)
    }
    return [float(value.detach()) for value in rows], summed
