"""Neurons beside the decoder's: those of the vision tower, the projector and gated cross-attention blocks."""

from __future__ import annotations

import torch

from ..hooks import HookSession, Tap
from ..intervene.operations import Noise
from ..loading import VLM
from ..loading.checks.common import NotApplicable, Outcome, generate, noise_picture
from ..models.inputs import Inputs
from ..models.rounding import relative, tolerance
from ..types import Neurons, Part


def check_vision(vlm: VLM) -> Outcome:
    """Neurons of the vision tower are reached, change the logits, and noise on them is the same in a batch."""
    return _check(vlm, "vision")


def check_gated(vlm: VLM) -> Outcome:
    """The same for the neurons of gated cross-attention blocks that are blocks of their own."""
    return _check(vlm, "gated")


def check_projector(vlm: VLM) -> Outcome:
    """The same for the neurons of the projector."""
    return _check(vlm, "projector")


@torch.no_grad()
def _check(vlm: VLM, part: Part) -> Outcome:
    from ..intervene.batching import one_row_at_a_time
    from ..intervene.operations import Noise, Zero

    stack = vlm.structure.towers.get(part)
    if stack is None or not stack.ffns:
        return NotApplicable(f"no dense FFN was found in the {part} part")
    # One size, so that rows can be told apart where all pictures stand in one queue.
    inputs = vlm.prepare([noise_picture(seed=seed) for seed in (1, 2)])
    single = [inputs.select([row]) for row in range(2)]
    plain = vlm.logits(single[0])
    idle = [Tap(layer, site, _leave, part) for layer, ffn in enumerate(stack.ffns) for site in ffn.sites]
    with HookSession(vlm.structure, idle, must_fire=False) as session:
        hooked = vlm.logits(single[0])
    # Some projectors have parts for large pictures only.
    reached = sorted({tap.layer for tap, count in zip(idle, session.fired, strict=True) if count})
    if not reached:
        return f"none of {len(stack.ffns)} layers is reached", False
    problems = [] if torch.equal(plain, hooked) else ["empty hooks change the logits"]
    everything = Neurons.at(
        *(f"{part}.{layer}.{unit}" for layer in reached for unit in range(0, stack.ffns[layer].width, 2))
    )
    with vlm.intervene(Zero(everything)):
        zeroed = vlm.logits(single[0])
    if torch.equal(plain, zeroed):
        problems.append("setting all of them to zero changes nothing")
    noise = Noise(everything, level=0.5, draws=2)
    alone = [_disturbed(vlm, single[row], noise, [row]) for row in range(2)]
    if not one_row_at_a_time(vlm, part):
        both = _disturbed(vlm, inputs, noise, [0, 1])
        worst = max(relative(both[row : row + 1], alone[row]) for row in range(2))
        # Where text is written the image may be read before the model itself is called.
        written = generate(vlm, inputs, noise, steps=1)[1]
        one_by_one = [generate(vlm, row, noise, steps=1)[1] for row in single]
        worst = max(worst, *(relative(written[row : row + 1], one_by_one[row]) for row in range(2)))
        if worst > tolerance(vlm):
            problems.append(f"noise in a batch differs from noise on single rows by {worst:.1e}")
    if not torch.equal(plain, vlm.logits(single[0])):
        problems.append("the logits are not the same afterwards")
    widths = sorted({stack.ffns[layer].width for layer in reached})
    found = f"{len(reached)} layers of {'/'.join(map(str, widths))} neurons"
    if len(reached) < len(stack.ffns):
        found += f" ({len(stack.ffns) - len(reached)} more are not reached by a small picture)"
    return (f"{found}: {', '.join(problems)}" if problems else found), not problems


def _disturbed(vlm: VLM, inputs: Inputs, noise: Noise, draws: list[int]) -> torch.Tensor:
    with vlm.intervene(noise, draws=draws):
        return vlm.logits(inputs)


def _leave(_z: torch.Tensor) -> None:
    """A tap that changes nothing."""
