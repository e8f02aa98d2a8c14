"""`neuronscope truth`: which method is right on this model, by the exact effect of every neuron or of a sample.

effects.json    the exact effects so far; a run that was stopped goes on from them
truth.md        the table of methods, with a sentence first
truth.json      the same as numbers
recovered.png   what the best n neurons of each method recover, exchanged together
original.png, edited.png   the pictures
page.html       all of it as one page
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption, InvalidSample, RunMismatch
from ...files import replacing
from ...options import option
from .picture import OnePicture

if TYPE_CHECKING:
    import numpy as np

    from ...loading import VLM
    from ...locate import Exchange
    from ...locate.target import Word
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
_EFFECTS = "effects.json"


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
    step: Callable[[str], None] = lambda _: None,
) -> Judged:
    """Exchange neurons one by one, and judge every method by them; writes the folder as it goes, and goes on with it.

    Raises RunMismatch where the folder holds effects of another model, picture or setting, and what the methods'
    condition raises. A method that refuses the sample is noted with its reason.
    """
    import numpy as np

    from ...locate import Exchange
    from ...locate.target import concept_word
    from ...samples.regions import marked_by
    from .truth_page import CURVES, curves, save_pictures, write_truth

    word = concept_word(validity)
    about = {"concept": asked.concept, "image": Path(asked.image).name, "model": vlm.id}
    how: Any = {"change": asked.change, "target": asked.measure}
    exchange = Exchange.of(vlm, pair.original, pair.edited, word, asked.decoding, **how)
    scores, refused = _scores(vlm, pair, validity, asked, step)
    doubts = [validity.removal.doubt] if validity.removal and validity.removal.doubt else []
    notes = [*marked_by(pair.sample), *doubts, *refused]
    flat, drawn = _sample(vlm, scores, asked)
    state = _State.open(folder / _EFFECTS, _key(vlm, pair, validity, word, asked))
    begun, judged = time.monotonic(), None
    for values in state.complete(exchange, flat, step):
        done = ~np.isnan(values)
        found = _judge(scores, flat[done], drawn[done], values[done], exchange.edit, notes, time.monotonic() - begun)
        judged = replace(found, about=about)
        judged.save(folder)
        step(judged.sentence)
    assert judged is not None
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


def _sample(vlm: VLM, scores: Mapping[str, np.ndarray], asked: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The neurons that are asked, in this order, and which of them are drawn by chance of all the others."""
    import numpy as np

    from ...locate.scores import best_first

    total = sum(vlm.widths)
    sure = np.unique(np.concatenate([np.zeros(0, int), *(best_first(values)[:BEST] for values in scores.values())]))
    others = np.random.default_rng(asked.seed).permutation(np.setdiff1d(np.arange(total), sure))
    flat = np.concatenate([sure, others])
    if asked.budget is not None:
        if asked.budget < len(sure):
            raise InvalidOption(
                f"--budget {asked.budget}: the {BEST} best of {len(scores)} methods are {len(sure)} neurons already"
            )
        flat = flat[: asked.budget]
    return flat, np.arange(len(flat)) >= len(sure)


def _key(vlm: VLM, pair: Counterfactual, validity: Validity, word: Word, asked: Truth) -> dict[str, Any]:
    """What decides an exact effect."""
    from ...samples.image import read_image

    pictures = [hashlib.sha256(read_image(p).tobytes()).hexdigest() for p in (pair.original, pair.edited)]
    how = {"change": asked.change, "measure": asked.measure, "decoding": asked.decoding.to_dict()}
    return {
        "model": vlm.record(),
        "pictures": pictures,
        "caption": list(validity.original.ids),
        "word": asdict(word),
        **how,
    }


@dataclass
class _State:
    """Exact effects so far, on disk and in memory: flat index -> effect."""

    path: Path
    key: dict[str, Any]
    known: dict[int, float]

    @classmethod
    def open(cls, path: Path, key: dict[str, Any]) -> _State:
        """Those of an earlier call. Raises RunMismatch for those of something else, and for a damaged file."""
        from ...parsing import parse_json

        key = json.loads(json.dumps(key))
        if not path.exists():
            return cls(path, key, {})
        try:
            held: Any = parse_json(path.read_text(encoding="utf-8"))
            known = {int(flat): float(value) for flat, value in zip(held["flat"], held["values"], strict=True)}
            other = held["key"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunMismatch(f"{path} holds no exact effects ({type(error).__name__}: {error}); remove it") from error
        if other != key:
            names = [name for name in key if not isinstance(other, dict) or other.get(name) != key[name]]
            raise RunMismatch(f"{path} holds exact effects of another {', '.join(names)}: choose another --out")
        return cls(path, key, known)

    def complete(self, exchange: Exchange, flat: np.ndarray, step: Callable[[str], None]) -> Any:
        """Asks for what is missing; yields [n] values, NaN where not yet known, now and then and at the end."""
        import numpy as np

        missing = [int(one) for one in flat if int(one) not in self.known]
        at, told = 0, time.monotonic()
        total = sum(exchange.vlm.widths)
        while at < len(missing):
            # Neighbours share a first layer; what was drawn by chance is asked in the order in which it was drawn.
            some = sorted(missing[at : at + 4 * exchange.batch_size])
            sets = [np.arange(total) == one for one in some]
            self.known.update(zip(some, exchange.effects(sets).tolist(), strict=True))
            at += len(some)
            step(f"{at} of {len(missing)} neurons")
            if at < len(missing) and time.monotonic() - told >= _EVERY:
                self.save()
                yield self.values(flat)
                told = time.monotonic()
        self.save()
        yield self.values(flat)

    def values(self, flat: np.ndarray) -> np.ndarray:
        """In the order of `flat`."""
        import numpy as np

        return np.array([self.known.get(int(one), np.nan) for one in flat])

    def save(self) -> None:
        """Atomically."""
        from ...files import write_text

        held = {"key": self.key, "flat": list(self.known), "values": list(self.known.values())}
        write_text(self.path, json.dumps(held))


def _judge(
    scores: Mapping[str, np.ndarray],
    flat: np.ndarray,
    drawn: np.ndarray,
    values: np.ndarray,
    edit: float,
    notes: list[str],
    seconds: float,
) -> Judged:
    import numpy as np

    from ...evaluate import Sampled, figures
    from ...locate.scores import best_first
    from .judged import Judged

    total = len(next(iter(scores.values()))) if scores else len(flat)
    if not drawn.any() and len(flat) < total:  # not even the sure ones are through: as far as they are known
        drawn = np.ones(len(flat), dtype=bool)
    sampled, found = Sampled.of(values, drawn, total), {}
    for name, of in scores.items():
        ranks = np.empty(total, dtype=int)
        ranks[best_first(of)] = np.arange(total)
        found[name] = figures(of[flat], ranks[flat], sampled)
    return Judged(len(flat), total, edit, found, {}, tuple(notes), seconds)


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
