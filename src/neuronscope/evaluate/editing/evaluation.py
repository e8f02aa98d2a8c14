"""An edit measured, and the same editor on random neurons of equal count and layers beside it.

Order of events: everything is asked of the unedited model first and kept; then one edit after another is made, applied,
asked the same, and reverted, the last whatever happens. An edit that works on random neurons is not about its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...edit import Edit
from ...errors import InvalidOption
from ...fields import whole
from ...held import in_turn
from ...loading import VLM
from ...locate.matched import layer_matched_sets
from ...types import Neurons
from ..captions import CaptionMetric
from .measures import MeasureValues, Wording, compare_readings
from .reading import Answers, Probes, read


@dataclass(frozen=True)
class Evaluation:
    """How well an edit did what it was to do, and nothing else.

    Attributes:
        edit: the edit; not in force.
        measured: name in MEASURES -> its values.
        random: the same of each random set.
        before, after: what was read; `before` without any edit.
        words: source and target.
        left_out: images of `others` whose caption names the source, which count nowhere.
    """

    edit: Edit
    measured: dict[str, MeasureValues]
    random: tuple[dict[str, MeasureValues], ...]
    before: Answers
    after: Answers
    words: Wording
    left_out: int

    @property
    def control(self) -> dict[str, MeasureValues]:
        """The random sets' values together; empty without random sets."""
        if not self.random:
            return {}
        first, *rest = self.random
        return {name: one.join(other[name] for other in rest) for name, one in first.items()}


@in_turn
def evaluate_edit(
    vlm: VLM,
    make: Callable[[Neurons], Edit],
    neurons: Neurons,
    words: Wording,
    probes: Probes,
    *,
    controls: int = 1,
    seed: int = 0,
    similarity: CaptionMetric | None = None,
    before: Answers | None = None,
    batch_size: int = 32,
    done: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Make an edit of some neurons, measure it, and measure the same on random neurons.

    Args:
        vlm: the model, without the edit.
        make: an edit of the neurons that it is given, not in force; called once for each set.
        neurons: the set.
        words: source and target.
        probes: what it is measured on.
        controls: how many random sets.
        seed: of the first random set.
        similarity: of other images' captions; ROUGE-L by default.
        before: an earlier reading of the unedited model with these probes, to save time.
        batch_size: captions that are generated together.
        done: called with what has been finished, for progress bars.

    Raises InvalidOption for `controls` below 0, and what editing, captioning and metrics raise; the model is in every
    case left as it was.
    """
    if whole("controls", controls) < 0:
        raise InvalidOption(f"controls={controls} must be at least 0")
    sets = [neurons, *layer_matched_sets(vlm, neurons, range(seed, seed + controls))]
    if before is None:
        before = read(vlm, probes, batch_size=batch_size)
        done("read the unedited model")
    made: list[tuple[Edit, Answers, dict[str, MeasureValues]]] = []
    for n, members in enumerate(sets):
        edit = make(members)
        with edit:
            after = read(vlm, probes, texts=before.asked, batch_size=batch_size)
        made.append((edit, after, compare_readings(before, after, words, similarity)))
        done(f"measured random set {n}" if n else "measured the edit")
    edit, after, measured = made[0]
    left_out = sum(words.names(caption, words.source) for caption in before.others)
    return Evaluation(edit, measured, tuple(one[2] for one in made[1:]), before, after, words, left_out)
