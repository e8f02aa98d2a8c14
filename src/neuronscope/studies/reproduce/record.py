"""The data set of a run: built once, kept as a record, and put together again from the same files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...caption.captions import caption_of
from ...errors import InvalidSample, RunMismatch
from ...loading import VLM
from ...locate.validity import Validity
from ...parsing import parse_json
from ...run.directory import Run
from ...run.understood import only_row, understood
from ...samples.inpaint import Counterfactual, counterfactual
from ...samples.lexicon import Lexicon
from ...samples.sample import Sample
from ...types import Neurons
from .dataset import Dataset
from .kept import CandidateSource, Choosy, Kept, Rejection
from .pixels import pixel_hash, put_inside
from .settings import Experiment
from .units import CANDIDATE, DATASET


def to_row(dataset: Dataset) -> dict[str, Any]:
    """One row of the part that holds the data set."""
    return {"document": json.dumps(dataset.to_dict(), allow_nan=False)}


def named_in(row: Mapping[str, Any], concepts: Sequence[str]) -> list[tuple[str, str]]:
    """Concept and image of every sample, in the order of :func:`from_row`. Needs no model."""
    records = parse_json(row["document"])["samples"]
    return [(name, record["image_id"]) for name in concepts for record in records if record["concept"] == name]


def read_named(run: Run, concepts: Sequence[str]) -> list[tuple[str, str]]:
    """The same from a run's part. Raises RunMismatch where it holds something else."""
    with understood(run, DATASET.kind, DATASET.key):
        return named_in(only_row(run, DATASET.kind, DATASET.key), concepts)


def read_dataset(run: Run, vlm: VLM, source: CandidateSource, experiment: Experiment) -> Dataset:
    """:func:`from_row` of a run's part. Raises RunMismatch where it holds something else, too."""
    with understood(run, DATASET.kind, DATASET.key):
        return from_row(only_row(run, DATASET.kind, DATASET.key), vlm, source, experiment)


def read_candidate(
    run: Run, key: Mapping[str, Any], vlm: VLM, sample: Sample, experiment: Experiment
) -> Kept | Rejection:
    """:func:`of_kept_row` of a run's part. Raises RunMismatch where it holds something else, too."""
    with understood(run, CANDIDATE, key):
        return of_kept_row(only_row(run, CANDIDATE, key), vlm, sample, experiment)


def read_set(run: Run, key: Mapping[str, Any], row: Mapping[str, Any]) -> Neurons | None:
    """The set of a `located` row; None where the method refused the sample. Raises RunMismatch for another document."""
    with understood(run, "located", key):
        return None if row["refused"] is not None else Neurons.from_dict(parse_json(row["neurons"]))


def kept_row(found: Kept | Rejection) -> dict[str, Any]:
    """One row of the part that holds what was found of a candidate."""
    made = {"kept": found.record()} if isinstance(found, Kept) else {"rejected": asdict(found)}
    return {"document": json.dumps(made, allow_nan=False)}


def of_kept_row(row: Mapping[str, Any], vlm: VLM, sample: Sample, experiment: Experiment) -> Kept | Rejection:
    """What was found of a candidate. Raises RunMismatch when the image is not what it was."""
    made = parse_json(row["document"])
    return Rejection(**made["rejected"]) if "rejected" in made else _restore(vlm, sample, made["kept"], experiment)


def from_row(row: Mapping[str, Any], vlm: VLM, source: CandidateSource, experiment: Experiment) -> Dataset:
    """The data set that a row describes.

    Raises RunMismatch when an image or its edit is not what it was when the run began.
    """
    document = parse_json(row["document"])
    settings = dict(document["settings"])
    records: list[dict[str, Any]] = document["samples"]
    wanted = {concept: [r for r in records if r["concept"] == concept] for concept in experiment.concepts}
    kept: list[Kept] = []
    for concept, ours in wanted.items():
        found = _find(source, concept, {record["image_id"] for record in ours}, experiment.seed)
        kept += [_restore(vlm, found[record["image_id"]], record, experiment) for record in ours]
    return Dataset(
        experiment.concepts,
        settings.pop("per_concept"),
        tuple(kept),
        tuple(Rejection(**entry) for entry in document["rejections"]),
        settings,
    )


def _find(source: CandidateSource, concept: str, ids: set[str], seed: int) -> dict[str, Sample]:
    """Samples of a concept by image. Raises RunMismatch for one that the source no longer has."""
    found: dict[str, Sample] = {}
    candidates = source.everything() if isinstance(source, Choosy) else source
    stream = iter(candidates.samples(concept, seed=seed))
    while ids - found.keys():
        try:
            sample = next(stream, None)
        except InvalidSample:  # an entry that cannot be read is on record as a rejection
            continue
        if sample is None:
            lacking = ", ".join(sorted(ids - found.keys()))
            raise RunMismatch(f"image {lacking} of {concept!r}, which this run began with, is no longer in the data")
        if sample.image_id in ids:
            found[sample.image_id] = sample
    return found


def _restore(vlm: VLM, sample: Sample, record: Mapping[str, Any], experiment: Experiment) -> Kept:
    decoding = experiment.decoding
    pair = _pair(sample, record, experiment.edit)
    original = caption_of(vlm, record["caption"]["ids"], decoding)
    edited = caption_of(vlm, record["caption_edited"]["ids"], decoding)
    match = Lexicon.default().match(original.text, sample.concept, experiment.match)
    tokens = vlm.prepare([pair.original], decoding).images[0]
    if match is None:
        raise RunMismatch(f"image {sample.image_id}: its caption {original.text!r} no longer names {sample.concept!r}")
    lost, removed = tuple(record["lost"]), tuple(record["removed"].items())
    validity = Validity(original, edited, match, tuple(record["concept_tokens"]), lost, removed)
    kept = Kept(pair, validity, tokens, record["model"], decoding, vlm.sent(decoding))
    again = kept.record()
    # Where the file lies may change: the folder is moved, or named from another place. Its pixels are hashed.
    differing = [name for name in record if name != "image" and record[name] != again.get(name)]
    if differing:
        raise RunMismatch(f"image {sample.image_id} is not as it was when the run began: {', '.join(differing)} differ")
    return kept


def _pair(sample: Sample, record: Mapping[str, Any], edit: str) -> Counterfactual:
    """The picture and its edit: made again, or as a model drew it, which it would not do alike on another machine."""
    made = record["edit"]
    if "edited" not in record:
        return counterfactual(sample, edit, region=made["region"], dilate=made["dilate"])
    original = sample.load()
    mask = sample.region(original.size, source=made["region"], dilate=made["dilate"])
    if pixel_hash(mask) != record["mask_sha256"]:
        raise RunMismatch(f"image {sample.image_id} is not as it was when the run began: its region differs")
    options = {name: value for name, value in made.items() if name != "method"}
    return Counterfactual(sample, original, put_inside(original, mask, record["edited"]), mask, edit, options)
