"""Does everything that the library claims hold on this very checkpoint? A list of checks, run by `neuronscope check`.

Each check is one function from a model to one line. A check that cannot apply to a family (no image tokens in the
decoder, no grid) says so with the reason from the family table; it is never skipped silently.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import NeuronOutOfRange, NeuronscopeError
from ..hooks import HookSession, Tap
from ..types import Neurons, Span
from .inputs import Inputs
from .selfcheck import Check, self_check

if TYPE_CHECKING:
    from .vlm import VLM

#: What transformers and torch raise when inputs do not suit a model.
MODEL_ERRORS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

#: A check that does not apply says why.
Outcome: TypeAlias = "tuple[str, bool] | NotApplicable"
_STEPS = 4  # tokens written in the checks that generate


@dataclass(frozen=True)
class NotApplicable:
    """Why a check says nothing about a model."""

    reason: str


@dataclass(frozen=True)
class Report:
    """Every line of the conformance suite."""

    rows: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every check that applies holds."""
        return all(row.ok for row in self.rows)


def conformance(vlm: VLM, *, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Run the self-check and then every check of this module. `progress` is told the name of each before it runs."""
    progress("self-check")
    rows = list(self_check(vlm).rows)
    if not all(row.ok for row in rows):
        return Report(tuple(rows))
    for name, check in CHECKS.items():
        progress(name)
        try:
            outcome = check(vlm)
        except (NeuronscopeError, *MODEL_ERRORS) as error:
            outcome = (f"{type(error).__name__}: {error}", False)
        if isinstance(outcome, NotApplicable):
            rows.append(Check(name, f"does not apply: {outcome.reason}", True, applies=False))
        else:
            rows.append(Check(name, *outcome))
    return Report(tuple(rows))


def _picture(size: tuple[int, int] = (96, 64), seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def _unmapped(vlm: VLM) -> str:
    """Why image tokens have no place on the image; empty where they have."""
    return vlm.family.no_image or vlm.family.no_grid or ""


def _span(vlm: VLM) -> Span:
    """Where there are neurons to disturb: at image positions if there are any."""
    return "all" if vlm.family.no_image else "image"


def _some_neurons(vlm: VLM) -> Neurons:
    """Half of the units of the first two layers that have any: enough to move the logits."""
    layers = vlm.structure.studied[:2]
    return Neurons.of((layer, unit) for layer in layers for unit in range(0, vlm.widths[layer], 2))


def check_coloured_patch(vlm: VLM) -> Outcome:
    """A lone coloured square moves the image token that the map says it covers more than tokens that it does not."""
    if reason := _unmapped(vlm) or vlm.family.discrete:
        return NotApplicable(reason)
    plain = np.asarray(_picture()) // 4 + 96  # faint noise: on one flat colour all patches look at one another alike
    height, width = plain.shape[:2]
    tokens = vlm.prepare([Image.fromarray(plain)]).images[0]
    before = _entering(vlm, plain)
    ranks: list[float] = []
    for tile, row, column in _probes(tokens.mapped()):
        x, y, w, h = tile.box(row, column)
        square = np.zeros((height, width), dtype=bool)
        square[max(0, round(y)) : max(round(y + h), 1), max(0, round(x)) : max(round(x + w), 1)] = True
        moved = np.zeros(tokens.count)
        for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255]):
            after = _entering(vlm, np.where(square[..., None], colour, plain).astype(np.uint8))
            moved += np.linalg.norm(after - before, axis=1)
        # Towers mix patches, so the square moves its surroundings too; with a wrong map its token could be anywhere.
        elsewhere = tokens.coverage(square) == 0
        ranks.append(float((moved[elsewhere] <= moved[tile.tokens[row, column]]).mean()))
    return f"its token moves more than {np.mean(ranks):.0%} of those elsewhere", float(np.mean(ranks)) >= 0.85


def _probes(tiles: Sequence[Any]) -> list[tuple[Any, int, int]]:
    """A few cells of the finest tile: near the corners and the middle."""
    tile = min(tiles, key=lambda t: t.box(0, 0)[2] * t.box(0, 0)[3])
    rows, columns = tile.tokens.shape
    places = {(r, c) for r in (rows // 4, rows // 2, 3 * rows // 4) for c in (columns // 4, columns // 2)}
    return [(tile, min(r, rows - 1), min(c, columns - 1)) for r, c in sorted(places)]


def _entering(vlm: VLM, pixels: np.ndarray) -> np.ndarray:
    """What enters the first decoder layer at the image tokens, [P, hidden]."""
    inputs = vlm.prepare([Image.fromarray(pixels)])
    taken: list[Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taken.append(args[0] if args else kwargs["hidden_states"])

    handle = vlm.structure.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            vlm.logits(inputs)
    finally:
        handle.remove()
    return taken[0][0, inputs.images[0].positions].float().cpu().numpy()


def check_gradient(vlm: VLM) -> Outcome:
    """Gradients of all layers from one backward pass agree with central differences."""
    if vlm.dtype not in (torch.float32, torch.float64):
        return NotApplicable(f"differences cannot be resolved in {vlm.dtype}")
    inputs = vlm.prepare([_picture()])
    where = _positions(vlm, inputs)
    leaves: dict[int, Tensor] = {}

    def leaf(layer: int) -> Tap:
        def run(z: Tensor) -> Tensor:
            leaves[layer] = z if z.requires_grad else z.detach().requires_grad_()
            return leaves[layer]

        return Tap(layer, "neuron", run)

    studied = vlm.structure.studied
    with torch.enable_grad(), HookSession(vlm.structure, [leaf(layer) for layer in studied]):
        y = _spread(vlm.logits(inputs))
        grads = torch.autograd.grad(y, [leaves[layer] for layer in studied], allow_unused=True)
    found = cast("tuple[Tensor | None, ...]", grads)
    worst = 0.0
    for layer, grad in zip(studied, found, strict=True):
        if grad is None:
            continue
        at = grad[0, _shift(where, grad.shape[1])]
        direction = at / at.norm().clamp_min(1e-20)
        slope = float(at.norm())
        if slope < 1e-6:
            continue
        unit = float(leaves[layer].detach().abs().mean().clamp_min(1e-3))
        errors: list[float] = []
        for size in (1e-2 * unit, 1e-1 * unit, unit, 3 * unit, 1e-3 * unit):  # too large bends, too small rounds
            pair = [_moved(vlm, inputs, layer, where, direction * step) for step in (size, -size)]
            errors.append(abs((pair[0] - pair[1]) / (2 * size) - slope) / slope)
            if errors[-1] < 0.01:
                break
        worst = max(worst, min(errors))
    return f"largest relative difference {worst:.1e}", worst < 0.05


def _spread(logits: Tensor) -> Tensor:
    """A sum of the last position's logits with alternating signs: moves with everything, cancels constants."""
    last = logits[0, -1].double()
    last = last[last.detach() > -1e30]  # some models forbid tokens by a huge negative number
    signs = torch.ones_like(last)
    signs[1::2] = -1
    return (last * signs).sum() / len(last) ** 0.5


@torch.no_grad()
def _moved(vlm: VLM, inputs: Inputs, layer: int, where: np.ndarray, change: Tensor) -> float:
    def add(z: Tensor) -> Tensor:
        new = z.clone()
        new[0, _shift(where, z.shape[1])] += change
        return new

    with HookSession(vlm.structure, [Tap(layer, "neuron", add)]):
        return float(_spread(vlm.logits(inputs)))


def _positions(vlm: VLM, inputs: Inputs) -> np.ndarray:
    """The positions that the checks look at, counted from the end (the layers may see more than the ids)."""
    name = "decoder_input_ids" if "decoder_input_ids" in inputs.tensors else "input_ids"
    length = inputs.tensors[name].shape[1]
    if vlm.family.no_image:
        return np.arange(-min(length, 2), 0)
    return inputs.images[0].positions - length


def _shift(where: np.ndarray, length: int) -> Tensor:
    return torch.from_numpy(where + length)


def check_last_layer(vlm: VLM) -> Outcome:
    """The last layer's neurons at image positions reach no logit: their gradient is exactly 0."""
    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    last = vlm.layers - 1
    if last not in vlm.structure.studied:
        return NotApplicable("the last layer has no dense neurons")
    inputs = vlm.prepare([_picture()])
    where = _positions(vlm, inputs)
    with torch.no_grad():
        clean = float(_spread(vlm.logits(inputs)))
    noise = torch.randn(len(where), vlm.widths[last], dtype=vlm.dtype, device=vlm.device)
    moved = abs(_moved(vlm, inputs, last, where, 10 * noise) - clean)
    return f"logits move by {moved:.1e}", moved == 0


def check_earlier_layers(vlm: VLM) -> Outcome:
    """Neurons at image positions below the last layer do reach the logits."""
    inputs = vlm.prepare([_picture()])
    where = _positions(vlm, inputs)
    with torch.no_grad():
        clean = float(_spread(vlm.logits(inputs)))
    silent: list[int] = []
    below = [layer for layer in vlm.structure.studied if layer < vlm.layers - 1 or vlm.family.no_image]
    for layer in below:
        change = torch.ones(len(where), vlm.widths[layer], dtype=vlm.dtype, device=vlm.device)
        if _moved(vlm, inputs, layer, where, change) == clean:
            silent.append(layer)
    return (f"layers {silent} do not reach the logits" if silent else f"{len(below)} layers"), not silent


def check_cache(vlm: VLM) -> Outcome:
    """Noise while the prompt is read gives the same logits at every step with and without a KV cache."""
    from ..intervene.operations import Noise

    if vlm.family.cached:
        return NotApplicable(vlm.family.cached)
    inputs = vlm.prepare([_picture()])
    noise = Noise(_some_neurons(vlm), level=3.0, span=_span(vlm))
    written = [_generate(vlm, inputs, noise, use_cache=use) for use in (True, False)]
    difference = _relative(written[0][1], written[1][1])
    return f"largest relative difference {difference:.1e}", difference < _tolerance(vlm)


def check_batch(vlm: VLM) -> Outcome:
    """Prompts of different lengths, padded together under noise, give what each gives by itself."""
    from ..intervene.operations import Noise

    if vlm.family.single:
        return NotApplicable(vlm.family.single)
    rows = [vlm.prepare([_picture((90, 70), i)], prompt=p).rows[0] for i, p in enumerate(("The image shows a", "a"))]
    noise = Noise(_some_neurons(vlm), level=3.0, span=_span(vlm))
    together = _generate(vlm, Inputs(tuple(rows)), noise)[1]
    alone = [_generate(vlm, Inputs((row,)), noise)[1][0] for row in rows]
    worst = max(_relative(together[i], alone[i]) for i in range(len(rows)))
    return f"largest relative difference {worst:.1e}", worst < _tolerance(vlm)


def check_noise(vlm: VLM) -> Outcome:
    """A draw repeats, and two draws differ."""
    from ..intervene.operations import Noise

    inputs = vlm.prepare([_picture()])
    noise = Noise(_some_neurons(vlm), level=3.0, draws=2, span=_span(vlm))
    first, again, other = (_generate(vlm, inputs, noise, draw=d)[1] for d in (0, 0, 1))
    clean = _generate(vlm, inputs, None)[1]
    same, differs = bool(torch.equal(first, again)), not torch.equal(first, other)
    moves = not torch.equal(first, clean)
    words = "repeats" if same else "does not repeat"
    return f"{words}; draws {'differ' if differs else 'are alike'}; logits {'move' if moves else 'stay'}", (
        same and differs and moves
    )


def check_two_stage_scores(vlm: VLM) -> Outcome:
    """Activation differences and GradCAM of every neuron are finite, and some are not 0."""
    from ..locate.scores import activation_differences, grad_times_activation

    if vlm.family.no_image:
        return NotApplicable(vlm.family.no_image)
    original, edited = _picture(), _picture(seed=1)
    (pooled,) = activation_differences(vlm, original, [edited], site="neuron", prompt="The image shows a")
    inputs = vlm.prepare([original])
    with torch.no_grad():
        token = int(vlm.logits(inputs)[0, -1].argmax())
    (slopes,) = grad_times_activation(vlm, inputs, [[(1, token)]])
    finite = bool(np.isfinite(pooled.values).all() and np.isfinite(slopes.values).all())
    alive = bool(pooled.values.any() and slopes.values.any())
    words = "finite" if finite else "not all finite"
    return f"{len(pooled.values)} neurons, {words}" + ("" if alive else ", all 0"), finite and alive


def check_heatmap(vlm: VLM) -> Outcome:
    """A heat map of some neurons covers the picture."""
    from ..view.heatmap import heatmap

    if reason := _unmapped(vlm):
        return NotApplicable(reason)
    heat = heatmap(vlm, _picture(), _some_neurons(vlm)[:3])
    shown = float((~np.isnan(heat.values)).mean())
    return f"{heat.values.shape[1]} x {heat.values.shape[0]} px, {shown:.0%} shown", shown > 0.5


def check_model_is_left_alone(vlm: VLM) -> Outcome:
    """After success, a bad argument, an exception and an interrupt inside the model, the model is as it was."""
    from ..intervene.operations import Zero

    inputs = vlm.prepare([_picture()])
    before = _traces(vlm.model)
    seen: list[int] = []
    foreign = vlm.structure.layers[0].register_forward_hook(lambda *_: seen.append(1))
    try:
        with_foreign = _traces(vlm.model)
        zero = Zero(_some_neurons(vlm), span=_span(vlm))
        _generate(vlm, inputs, zero)
        problems = [] if _traces(vlm.model) == with_foreign else ["success"]
        for name, error, act in _accidents(vlm, inputs, zero):
            try:
                act()
                problems.append(f"{name} raised nothing")
            except error:
                pass
            if _traces(vlm.model) != with_foreign:
                problems.append(name)
        if not seen:
            problems.append("a foreign hook was lost")
    finally:
        foreign.remove()
    if _traces(vlm.model) != before:
        problems.append("the end")
    return (f"traces left after: {', '.join(problems)}" if problems else "hooks, forwards, modes, gradients"), (
        not problems
    )


def _accidents(vlm: VLM, inputs: Inputs, change: Any) -> Iterable[tuple[str, type[BaseException], Callable[[], Any]]]:
    class _Accident(Exception):
        pass

    def inside(error: type[BaseException]) -> Callable[[], Any]:
        def run() -> None:
            def stop(*_: Any) -> None:
                raise error

            with _hooked(vlm.structure.layers[-1], stop):
                _generate(vlm, inputs, change)

        return run

    def bad() -> None:
        with vlm.intervene(type(change)(Neurons.of([(vlm.layers, 0)]), span=change.span)):
            pass

    return (
        ("a bad argument", NeuronOutOfRange, bad),
        ("an exception in the model", _Accident, inside(_Accident)),
        ("an interrupt in the model", KeyboardInterrupt, inside(KeyboardInterrupt)),
    )


@contextmanager
def _hooked(module: nn.Module, function: Callable[..., Any]) -> Generator[None]:
    handle = module.register_forward_hook(function)
    try:
        yield
    finally:
        handle.remove()


def _traces(model: nn.Module) -> list[tuple[Any, ...]]:
    """Everything about a model's modules that a careless tool could leave changed."""
    return [
        (
            name,
            len(m._forward_hooks),  # pyright: ignore[reportPrivateUsage]
            len(m._forward_pre_hooks),  # pyright: ignore[reportPrivateUsage]
            len(m._backward_hooks),  # pyright: ignore[reportPrivateUsage]
            m.training,
            sorted(key for key, value in vars(m).items() if callable(value) and not key.startswith("_")),
            tuple(p.requires_grad for p in m.parameters(recurse=False)),
        )
        for name, m in model.named_modules()
    ]


def check_memory(vlm: VLM) -> Outcome:
    """A second run of scores and captions leaves no tensor behind."""
    from ..intervene.operations import Zero
    from ..locate.scores import grad_times_activation

    def run() -> int:
        inputs = vlm.prepare([_picture()])
        _generate(vlm, inputs, Zero(_some_neurons(vlm), span=_span(vlm)))
        if not vlm.family.no_image:
            grad_times_activation(vlm, inputs, [[(1, 5)]])
        del inputs
        gc.collect()
        # The type, not isinstance(): asking some lazy objects for their class wakes them up.
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    run()
    first, second = run(), run()
    return f"{second - first} more tensors after a second run", second <= first


@torch.no_grad()
def _generate(vlm: VLM, inputs: Inputs, change: Any, *, use_cache: bool = True, draw: int = 0) -> tuple[Tensor, Tensor]:
    """(new ids, their logits [rows, steps, vocabulary]) of a few forced-length greedy steps."""
    from contextlib import nullcontext

    draws = [draw] * len(inputs.rows)
    banned = [] if vlm.image_token is None else [vlm.image_token]
    with vlm.frozen(), nullcontext() if change is None else vlm.intervene(change, draws=draws):
        generate: Any = vlm.model.generate  # inside: some models' own `generate` is listened to
        output = generate(
            **inputs.tensors,
            max_new_tokens=_STEPS,
            min_new_tokens=_STEPS,
            do_sample=False,
            use_cache=use_cache,
            suppress_tokens=banned or None,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return output.sequences, torch.stack(output.logits, 1).float()


def _relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the logits' spread."""
    if a.shape != b.shape:
        return float("inf")
    finite = torch.isfinite(a) & torch.isfinite(b)
    return float((a[finite] - b[finite]).abs().max() / b[finite].std().clamp_min(1e-12))


def _tolerance(vlm: VLM) -> float:
    return {torch.float64: 1e-8, torch.float32: 5e-3}.get(vlm.dtype, 0.5)


#: Name -> check, in the order of the table.
CHECKS: dict[str, Callable[[VLM], Outcome]] = {
    "coloured square": check_coloured_patch,
    "gradient = differences": check_gradient,
    "last layer is inert": check_last_layer,
    "other layers are not": check_earlier_layers,
    "cached = uncached": check_cache,
    "batch = single": check_batch,
    "noise repeats": check_noise,
    "two-stage scores": check_two_stage_scores,
    "heat map": check_heatmap,
    "model left alone": check_model_is_left_alone,
    "memory released": check_memory,
}
