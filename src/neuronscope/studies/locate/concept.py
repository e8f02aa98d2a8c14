"""`neuronscope concept`: one set of neurons from several photographs of a folder, its command line and its job.

neurons.json    the set, with what each photograph and edit said in its provenance
layers.png      how many lie in each layer
summary.txt     the photographs that were used, doubts about the word in them, and why others were not
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption, InvalidSample
from ...options import ANNOTATED, MISSING, Asking, Loading, Reading, Taking, option

if TYPE_CHECKING:
    from ...loading import VLM
    from ...locate import LeftOut, Pooling, ScoredConcept
    from ...locate.validity import Validity
    from ...models.decoding import Decoding
    from ...samples import Counterfactual, Sample
    from ...types import Neurons


@dataclass(frozen=True, kw_only=True)
class ConceptOf(Loading, Asking, Taking, Reading):
    """Annotated photographs, a concept, a method, and how photographs become one."""

    data: Path = option(MISSING, help=ANNOTATED)
    concept: str = option(MISSING, help="One of its categories.")
    photographs: int = option(8, "--photographs", "-n", least=1, help="At most so many that meet the conditions.")
    edits: tuple[str, ...] = option(
        ("telea",),
        "--edit",
        help="telea, navier_stokes, mean_fill, diffusion:DIRECTORY; may be repeated.",
        repeated=True,
    )
    views: int = option(
        0, "--views", least=0, most=4, help="Corners of each photograph that are scored with it; each takes as long."
    )
    method: str = option("difference-x-gradient-refined", "--method", help="Any; a wrong name lists all.")
    count: int = option(200, "--count", help="How many neurons.")
    scale: str = option("largest", "--scale", help="none, effect, largest, spread, rank or log_rank.")
    join: str = option("mean", "--join", help="mean, median, least or votes.")
    within: int = option(200, "--within", help="A photograph holds those among its own best so many.")
    held: int = option(1, "--held", help="Leave out neurons that fewer photographs hold.")
    against: tuple[str, ...] = option(
        (),
        "--against",
        help="Another category of the folder, whose scores are subtracted; may be repeated.",
        repeated=True,
    )
    weight: float = option(1.0, "--weight", help="How much of them is subtracted.")
    test: bool = option(True, "--test/--no-test", help="Also patch each photograph with the set of the others.")

    def __post_init__(self) -> None:
        Taking.__post_init__(self)
        from ...locate import method
        from ...samples.inpainters import require_edit

        method(self.method)
        for edit in self.edits:
            require_edit("edit", edit, "exact")
        self.pooling()
        if self.held > self.photographs:  # before any is scored
            raise InvalidOption(f"--held {self.held} is more than the {self.photographs} of --photographs")

    def samples(self, concept: str) -> Iterator[Sample]:
        """The folder's photographs of a concept. Raises InvalidSample where it has none such category."""
        from ...samples import annotated

        return annotated(self.data, split=self.split, allow_outside=self.allow_outside).samples(concept)

    def pooling(self) -> Pooling:
        """How photographs become one. Raises InvalidOption for values that are not among the choices."""
        from ...locate import Pooling

        how: Any = {"scale": self.scale, "join": self.join}
        return Pooling(count=self.count, within=self.within, least_held=self.held, weight=self.weight, **how)


def concept_into(
    folder: str | Path, vlm: VLM, asked: ConceptOf, step: Callable[[str], None] = lambda _: None
) -> tuple[Neurons, tuple[str, ...]]:
    """Locate a concept in a folder's photographs, and write the set. Returns it with the lines of summary.txt.

    A photograph counts where every edit meets the conditions; the first `asked.photographs` that do are used.

    Raises InvalidSample where none does, InvalidOption for a folder that cannot be written to, and what
    :func:`neuronscope.locate_concept` raises.
    """
    from ...files import clear_result, output_folder, write_text
    from ...report.evidence import clear_evidence
    from ...view import layer_distribution, plot_layers

    target, pooling = output_folder(folder), asked.pooling()
    scored, notes = _scored(vlm, asked, asked.concept, step)
    rivals = [_scored(vlm, asked, name, step) for name in asked.against]
    against = [one for one, _ in rivals]
    step("locating neurons")
    neurons, used = scored.neurons(pooling, against), len(set(scored.photographs))
    left_out = scored.left_out(pooling, against=against) if asked.test and used > 1 and len(neurons) else []
    clear_result(target, "summary.txt", "heatmap.png", "overlay.png")
    clear_evidence(target)  # of one picture, by `locate`
    neurons.save(target / "neurons.json")
    plot_layers({neurons.method: layer_distribution(neurons, vlm.widths)}, target / "layers.png")
    verdict = _verdict(asked.concept, len(neurons), used, left_out)
    counts = [f"{name} ({len(set(one.photographs))})" for name, one in zip(asked.against, against, strict=True)]
    summary = (
        verdict,
        f"concept   {asked.concept}",
        f"method    {neurons.method} ({asked.scale}, {asked.join})",
        *([f"less      {asked.weight:g} times the mean of {', '.join(counts)}"] if counts else []),
        f"neurons   {len(neurons)}, held by {_held(neurons)} of {used} photographs in the median",
        *([f"note      {asked.photographs} photographs were asked for"] if used < asked.photographs else []),
        *(f"used      {line}" for line in _used(neurons)),
        *(f"left out  {one.image}: recovers {one.share:.2f} of its edit; random {one.random:.2f}" for one in left_out),
        *(note for some in (notes, *(found for _, found in rivals)) for note in some),
    )
    write_text(target / "summary.txt", "\n".join(summary) + "\n")
    return neurons, summary


def _verdict(concept: str, count: int, used: int, left_out: Sequence[LeftOut]) -> str:
    """How many neurons, of how many photographs, and what they recover on one that they were not found on."""
    of = "1 photograph" if used == 1 else f"{used} photographs"
    head = f"{count} neurons for “{concept}” from {of}"
    if not left_out:
        return f"{head}, not tested: nothing says yet whether captions need them."
    import numpy as np

    share, random = (float(np.mean([getattr(one, name) for one in left_out])) for name in ("share", "random"))
    return (
        f"{head}. Exchanged in a photograph that they were not found on, they do {share:.0%} of what taking the object "
        f"out does to the word, as many random neurons {random:.0%}."
    )


def _scored(vlm: VLM, asked: ConceptOf, concept: str, step: Callable[[str], None]) -> tuple[ScoredConcept, list[str]]:
    """The first photographs of a concept that can be used, scored; and why others cannot."""
    from ...locate import ScoredConcept, method
    from ...models.decoding import Decoding
    from .settings import as_option

    decoding = Decoding.asked(asked)
    pairs: list[Counterfactual] = []
    validities: list[Validity] = []
    notes: list[str] = []
    used = 0
    for sample in asked.samples(concept):
        step(f"photograph {sample.image_id}")
        try:
            found = _pairs(vlm, sample, asked, decoding)
        except InvalidSample as error:
            notes.append(f"refused   {sample.image_id}: {type(error).__name__}: {error}")
            continue
        doubts = dict.fromkeys(one.removal.doubt for _, one in found if one.removal is not None)
        notes += [f"doubt     {sample.image_id}: {doubt}" for doubt in doubts if doubt]
        pairs += [pair for pair, _ in found]
        validities += [validity for _, validity in found]
        used += 1
        if used == asked.photographs:
            break
    if not pairs:
        raise InvalidSample("; ".join([f"no photograph of {concept!r} in {asked.data} can be used", *notes]))
    step(f"scoring {len(pairs)} pairs")
    chosen = method(asked.method, **as_option(decoding))
    scored = ScoredConcept.of(vlm, pairs, chosen, validities=validities, views=asked.views)
    return scored, [*notes, *(f"unseen    {line}" for line in scored.unseen)]


def _pairs(vlm: VLM, sample: Sample, asked: ConceptOf, decoding: Decoding) -> list[tuple[Counterfactual, Validity]]:
    from ...locate.validity import valid_pair

    methods: Any = asked.edits
    how: Any = {"reach": asked.reach, "max_other_share": asked.max_other_share, "decoding": decoding}
    found = [valid_pair(vlm, sample, method, **how) for method in methods]
    for _, validity in found:
        if validity.removal is not None:
            validity.removal.require()
    return found


def _held(neurons: Neurons) -> int:
    values = sorted(neurons.scores["held"])
    return int(values[len(values) // 2]) if values else 0


def _used(neurons: Neurons) -> Iterator[str]:
    sources: Any = neurons.provenance["pairs"]
    for one in sources:
        captions = f"{one['caption'].strip()!r}, edited {one['edited_caption'].strip()!r}"
        yield f"{one['image']} by {one['edit']['method']}: {captions}; holds {one['holds']} of the neurons"
