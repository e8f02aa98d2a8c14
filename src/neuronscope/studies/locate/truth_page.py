"""Pages of `truth`: of one picture, and of several pooled into one table."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...evaluate import Estimate
from ...evaluate.ordering import DEPTHS, WITHIN
from ...files import replacing
from ...report.data_uri import photo, uri
from ...report.kept import kept_picture
from ...report.page import telling_damage, write_page
from ...samples import Counterfactual
from ...samples.image import read_image
from ...version import __version__
from .judged import Judged, PooledTruth

CURVES, _ORIGINAL, _EDITED = "recovered.png", "original.png", "edited.png"
#: The figure that the first sentence, the bars and the order of the methods go by.
_FIRST = f"precision at {DEPTHS[-1]}"
#: Figure -> what a reader is told.
_TOLD: Mapping[str, str] = {
    **{f"precision at {k}": f"of its best {k}, share among the {k} that do most" for k in DEPTHS},
    f"recall of {DEPTHS[-1]} in {WITHIN}": f"of the {DEPTHS[-1]} that do most, share in its best {WITHIN}",
    "Spearman": "rank correlation with the effects of all neurons",
    "Pearson": "correlation with them",
}


@dataclass(frozen=True)
class MethodRow:
    """One method, ready to print: its name, the length of its bar from 0 to 1, its figures, what its best n recover."""

    method: str
    bar: float
    figures: tuple[str, ...]
    recovered: tuple[str, ...]


@dataclass(frozen=True)
class ShownTruth:
    """All that the template shows; pictures as (what it is, address)."""

    heading: str
    plain: str
    sentence: str
    seen: str
    pictures: tuple[tuple[str, str], ...]
    curves: str
    figures: tuple[str, ...]
    counts: tuple[int, ...]
    rows: tuple[MethodRow, ...]
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def save_pictures(folder: Path, pair: Counterfactual) -> None:
    """The pictures of a result, for its page."""
    for name, picture in ((_ORIGINAL, pair.original), (_EDITED, pair.edited)):
        with replacing(folder / name) as temporary:
            read_image(picture).save(temporary, format="PNG")


def write_truth(path: Path, folders: Sequence[Path]) -> Path:
    """Write the page of one result, or of several pooled over their pictures, and return its path.

    Raises RunMismatch for folders without a result, damaged ones, and those of several models.
    """
    judged = [Judged.load(folder) for folder in folders]
    with telling_damage(", ".join(map(str, folders))):
        shown = _one(folders[0], judged[0]) if len(judged) == 1 else _several(folders, PooledTruth.of(judged))
        return write_page("truth.html", path, {"shown": shown, "version": __version__})


def _one(folder: Path, judged: Judged) -> ShownTruth:
    concept = judged.about.get("concept", "")
    held = [("original", folder / _ORIGINAL), ("edited: what neurons are taken from", folder / _EDITED)]
    counted = {name: {n: f"{share:z.2f}" for n, share in of.items()} for name, of in judged.recovered.items()}
    return ShownTruth(
        heading=f"Which method finds the neurons that make the model say \u201c{concept}\u201d?",
        plain=_plain(judged.figures, "in this picture"),
        sentence=judged.sentence,
        seen="The picture, with and without the object",
        pictures=tuple((told, photo(kept_picture(path))) for told, path in held if path.is_file()),
        curves=uri(curves(judged.recovered), "image/png"),
        figures=tuple(_TOLD.values()),
        counts=tuple(next(iter(judged.recovered.values()), {})),
        rows=_rows(judged.figures, counted),
        notes=judged.notes,
        facts=(
            *judged.about.items(),
            ("neurons exchanged", f"{judged.asked:,} of {judged.total:,}"),
            ("what the edit takes from the word's score", f"{judged.edit:.3f}"),
        ),
    )


def _several(folders: Sequence[Path], found: PooledTruth) -> ShownTruth:
    named = [
        (f"{one.about.get('concept', '')}, {one.about.get('image', '')}", path)
        for one, path in zip(found.pictures, folders, strict=True)
    ]
    means = {name: {n: one.value for n, one in of.items()} for name, of in found.recovered.items()}
    counted = {
        name: {n: f"{one.value:z.2f} [{one.low:z.2f}, {one.high:z.2f}]" for n, one in of.items()}
        for name, of in found.recovered.items()
    }
    return ShownTruth(
        heading="Which method finds the neurons that make the model say what it sees?",
        plain=_plain(found.figures, f"over {len(found.pictures)} pictures"),
        sentence=found.sentence,
        seen="The pictures",
        pictures=tuple(
            (told, photo(kept_picture(path / _ORIGINAL), 256)) for told, path in named if (path / _ORIGINAL).is_file()
        ),
        curves=uri(curves(means), "image/png"),
        figures=tuple(_TOLD.values()),
        counts=tuple(next(iter(means.values()), {})),
        rows=_rows(found.figures, counted),
        notes=found.notes,
        facts=tuple(
            (told, f"{one.asked:,} of {one.total:,} neurons")
            for (told, _), one in zip(named, found.pictures, strict=True)
        ),
    )


def _plain(figures: Mapping[str, Mapping[str, Estimate]], where: str) -> str:
    """The first sentence, in plain words."""
    order = _order(figures)
    if not order:
        return f"No method could be judged {where}."
    first, k = order[0], DEPTHS[-1]
    best = figures[first][_FIRST].value
    told = (
        f"Of the {k} neurons that {first} names first, {best * k:.0f} are {where} among the {k} that really matter most"
    )
    if len(order) == 1:
        return f"{told}."
    last = order[-1]
    return f"{told}; of those that {last} names, {figures[last][_FIRST].value * k:.0f}."


def _order(figures: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    return sorted(figures, key=lambda name: -figures[name][_FIRST].value)


def _rows(
    figures: Mapping[str, Mapping[str, Estimate]], recovered: Mapping[str, Mapping[int, str]]
) -> tuple[MethodRow, ...]:
    return tuple(
        MethodRow(
            name,
            min(1.0, max(0.0, figures[name][_FIRST].value)),
            tuple(_number(figures[name][figure]) for figure in _TOLD),
            tuple(recovered.get(name, {}).values()),
        )
        for name in _order(figures)
    )


def _number(one: Estimate) -> str:
    return f"{one.value:z.2f}" if one.low == one.high else f"{one.value:z.2f} [{one.low:z.2f}, {one.high:z.2f}]"


def curves(recovered: Mapping[str, Mapping[int, float]]) -> bytes:
    """A plot of what the best n neurons of each method recover, as PNG."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, of in recovered.items():
        axes.plot(list(of), list(of.values()), marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("neurons exchanged together")
    axes.set_ylabel("share of the edit's effect")
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.axhline(1, color="0.7", linewidth=0.8)
    if recovered:
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    return buffer.getvalue()
