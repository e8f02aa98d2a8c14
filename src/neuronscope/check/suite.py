"""Does everything that the library claims hold on this very checkpoint? A list of checks, run by `neuronscope check`.

Each check is one function from a model to one line, in the modules of this package. A check that cannot apply to a
family (no image tokens in the decoder, no grid) says so with the reason from the family table; it is never skipped
silently.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ..errors import MODEL_ERRORS, NeuronscopeError
from ..held import in_turn
from ..loading import VLM, self_check
from ..loading.checks.captions import check_batch, check_cache, check_noise
from ..loading.checks.common import NotApplicable, Outcome
from ..loading.checks.image import check_coloured_patch, check_several_images
from ..loading.selfcheck import Check
from ..types import one_of
from .copied import check_copied_states, check_single_neurons
from .gradients import check_earlier_layers, check_gradient, check_last_layer
from .scores import check_heatmap, check_two_stage_scores
from .towers import check_gated, check_projector, check_vision
from .traces import check_memory, check_model_is_left_alone


@dataclass(frozen=True)
class Report:
    """Every line of the conformance suite."""

    rows: tuple[Check, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every check that applies holds."""
        return all(row.ok for row in self.rows)


@in_turn
def conformance(
    vlm: VLM,
    *,
    skip: Collection[str] = (),
    only: Collection[str] = (),
    progress: Callable[[str], None] = lambda _: None,
    done: Callable[[Check], None] = lambda _: None,
) -> Report:
    """Run the self-check and then every check of this module but those to `skip`.

    Args:
        vlm: the model.
        skip: names of checks to leave out.
        only: names of the checks to run; all of them where none is named. The self-check runs always.
        progress: told the name of each before it runs.
        done: told each line as soon as it is there.

    Raises InvalidOption for a name that is no check's.
    """
    for option, names in (("skip", skip), ("only", only)):
        for name in names:
            one_of(option, name, tuple(CHECKS))
    progress("self-check")
    rows = list(self_check(vlm).rows)
    for row in rows:
        done(row)
    if not all(row.ok for row in rows):
        return Report(tuple(rows))
    for name, check in CHECKS.items():
        if name in skip or (only and name not in only):
            continue
        progress(name)
        try:
            outcome = check(vlm)
        except (NeuronscopeError, *MODEL_ERRORS) as error:
            outcome = (f"{type(error).__name__}: {error}", False)
        if isinstance(outcome, NotApplicable):
            row = Check(name, f"does not apply: {outcome.reason}", True, applies=False)
        else:
            row = Check(name, *outcome)
        rows.append(row)
        done(row)
    return Report(tuple(rows))


#: Name -> check, in the order of the table.
CHECKS: dict[str, Callable[[VLM], Outcome]] = {
    "coloured square": check_coloured_patch,
    "several images": check_several_images,
    "gradient = differences": check_gradient,
    "last layer is inert": check_last_layer,
    "other layers are not": check_earlier_layers,
    "cached = uncached": check_cache,
    "batch = single": check_batch,
    "copied = whole": check_copied_states,
    "effects = one by one": check_single_neurons,
    "noise repeats": check_noise,
    "two-stage scores": check_two_stage_scores,
    "heat map": check_heatmap,
    "vision neurons": check_vision,
    "projector neurons": check_projector,
    "gated neurons": check_gated,
    "model left alone": check_model_is_left_alone,
    "memory released": check_memory,
}
