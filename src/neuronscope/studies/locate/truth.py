"""`neuronscope truth`: which method is right on this model, by the exact effect of every neuron or of a sample.

run/            the exact effects in parts, a resumable run; it can be shared among the workers of a Ray cluster
effects.json    the exact effects so far, as one file
truth.md        the table of methods, with a sentence first
truth.json      the same as numbers
recovered.png   what the best n neurons of each method recover, exchanged together
original.png, edited.png   the pictures
page.html       all of it as one page
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InvalidOption, InvalidSample
from ...files import replacing
from ...options import option
from .picture import OnePicture

if TYPE_CHECKING:
    import numpy as np

    from ...cluster.resources import Resources
    from ...evaluate.drawing import Drawing
    from ...loading import VLM
    from ...locate import Exchange
    from ...locate.validity import Validity
    from ...samples import Counterfactual
    from .judged import Judged

#: The methods that are compared where none are named.
METHODS = (
    *("difference-x-gradient-refined", "difference-x-gradient", "integrated-gradients", "grad-x-activation"),
    *("schwettmann", "pan", "activation-difference", "random"),
)
#: Of each method so many of its best are asked for sure.
BEST = 100
#: The best n of each method are exchanged together.
COUNTS = (10, 20, 50, 100, 200, 500)
#: Seconds between two states on disk.
_EVERY = 20.0


@dataclass(frozen=True, kw_only=True)
class Truth(OnePicture):
    """One picture, the methods, and how many neurons are asked."""

    methods: tuple[str, ...] = option(
        METHODS, "--method", help="A method that is judged; may be repeated.", repeated=True
    )
    budget: int | None = option(
        None, "--budget", least=100, help="Neurons that are exchanged one by one; all where it is not given."
    )
    change: str = option("patch", "--change", help="patch from the edited picture, zero, or mean.")
    measure: str = option("logprob", "--measure", help="logprob, logit, logodds, prob or contrast.")
    seed: int = option(0, "--seed", least=0, help="Of the neurons that are drawn by chance.")

    def __post_init__(self) -> None:
        super().__post_init__()
        from ...locate import method
        from ...locate.patching import CHANGES
        from ...locate.scores import TARGETS
        from ...types import one_of

        for name in self.methods:
            method(name)
        if len(set(self.methods)) < len(self.methods):
            raise InvalidOption(f"--method {' '.join(self.methods)}: a method is named twice")
        one_of("--change", self.change, CHANGES)
        one_of("--measure", self.measure, TARGETS)


def truth_into(
    folder: Path,
    vlm: VLM,
    pair: Counterfactual,
    validity: Validity,
    asked: Truth,
    *,
    resources: Resources | None = None,
    step: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Judged:
    """Exchange neurons one by one, and judge every method by them; writes the folder as it goes, and goes on with it.

    With `resources` the workers of a Ray cluster exchange them, and `say` is told what a person should know of these.

    Raises RunMismatch where the folder holds effects of another model, picture or setting, UnitsFailed where workers
    could not do some, and what the methods' condition raises. A method that refuses the sample is noted, with its
    reason.
    """
    import numpy as np

    from ...cluster.schedule import UnitsFailed
    from ...evaluate.drawing import Drawing
    from ...samples.regions import marked_by
    from .exchanging import Exact, TruthQuestion
    from .truth_page import CURVES, curves, save_pictures, write_truth

    about = {"concept": asked.concept, "image": Path(asked.image).name, "model": vlm.id}
    question = TruthQuestion.of(pair, validity, change=asked.change, measure=asked.measure, decoding=asked.decoding)
    exchange = question.exchange(vlm)
    scores, refused = _scores(vlm, pair, validity, asked, step)
    doubts = [validity.removal.doubt] if validity.removal and validity.removal.doubt else []
    notes = [*marked_by(pair.sample), *doubts, *refused]
    drawing = Drawing.of(scores, total=sum(vlm.widths), best=BEST, seed=asked.seed)
    flat = _asked(drawing, asked.budget, len(scores))
    exact = Exact(folder, vlm, question, exchange, flat)
    begun = told = time.monotonic()

    def judge() -> Judged:
        values = exact.values()
        done = ~np.isnan(values)
        found = _judge(scores, drawing, done, values[done], exchange.edit, notes, time.monotonic() - begun)
        found = replace(found, about=about)
        found.save(folder)
        step(found.sentence)
        return found

    def now_and_then(line: str) -> None:
        nonlocal told
        step(line)
        if time.monotonic() - told >= _EVERY:
            judge()
            told = time.monotonic()

    failures = () if resources is None else exact.share(asked, resources, now_and_then, say)
    if resources is None:
        exact.work(now_and_then)
    judged = judge()
    if failures:
        raise UnitsFailed.of(failures, "methods are judged by what is known")
    recovered = _recovered(exchange, scores, exchange.edit)
    plain = [why for why in (exchange.kept.why, *exchange.kept.plain.values()) if why]
    notes += [f"some neurons took whole passes, or all: {plain[0]}"] if plain else []
    judged = replace(judged, recovered=recovered, notes=tuple(notes), found_by=pair.sample.found_by)
    judged.save(folder)
    with replacing(folder / CURVES) as temporary:
        temporary.write_bytes(curves(judged.recovered))
    save_pictures(folder, pair)
    write_truth(folder / "page.html", [folder])
    return judged


def _scores(
    vlm: VLM, pair: Counterfactual, validity: Validity, asked: Truth, step: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """method -> its score of every neuron, and why others have none."""
    from ...locate import Ranking, method
    from .settings import as_option

    found: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name in asked.methods:
        step(f"scores of {name}")
        chosen = method(name, **as_option(asked.decoding))
        try:
            if isinstance(chosen, Ranking):
                ranked = chosen.score(vlm, pair, validity)
                found[name] = ranked.arrays[ranked.by].values
            else:
                located = chosen.locate(vlm, pair, validity=validity)
                found[name] = located.scores.arrays[located.ranked_by].values
        except (InvalidSample, InvalidOption) as error:
            notes.append(f"{name} refuses this sample: {type(error).__name__}: {error}")
    return found, notes


def _asked(drawing: Drawing, budget: int | None, methods: int) -> np.ndarray:
    """The neurons that are exchanged, in this order."""
    if budget is not None and budget < drawing.sure:
        best = f"the {BEST} best of {methods} methods"
        raise InvalidOption(f"--budget {budget}: {best} are {drawing.sure} neurons already")
    return drawing.flat[:budget]


def _judge(
    scores: Mapping[str, np.ndarray],
    drawing: Drawing,
    done: np.ndarray,
    values: np.ndarray,
    edit: float,
    notes: list[str],
    seconds: float,
) -> Judged:
    """By the `values` of those neurons of a drawing, from its first on, that are done."""
    import numpy as np

    from ...evaluate import Sampled, figures
    from ...locate.scores import best_first
    from .judged import Judged

    total, known, found = len(drawing.flat), len(values), {}
    flat = drawing.flat[: len(done)][done]
    chances = np.full(known, known / total)  # while not even the sure ones are through
    if known > drawing.sure:
        chances = drawing.chances(known)[: len(done)][done]
    sampled = Sampled.of(values, chances, total)
    for name, of in scores.items():
        ranks = np.empty(total, dtype=int)
        ranks[best_first(of)] = np.arange(total)
        found[name] = figures(of[flat], ranks[flat], sampled)
    return Judged(known, total, edit, found, {}, tuple(notes), seconds)


def _recovered(exchange: Exchange, scores: Mapping[str, np.ndarray], edit: float) -> dict[str, dict[int, float]]:
    import numpy as np

    from ...locate.scores import best_first

    found: dict[str, dict[int, float]] = {}
    for name, of in scores.items():
        order = best_first(of)
        counts = [n for n in COUNTS if n <= len(of)]
        sets = [np.isin(np.arange(len(of)), order[:n]) for n in counts]
        found[name] = dict(zip(counts, (exchange.effects(sets) / edit).tolist(), strict=True)) if edit else {}
    return found
