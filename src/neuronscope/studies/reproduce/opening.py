"""What a run of the reproduction is a run of: the settings that its directory keeps and compares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from ...evaluate.captions import scorer
from ...evaluate.truth import planted
from ...loading import VLM
from ...run.directory import Run
from ...run.settings import canonical
from ...samples.inpainters import told
from ...samples.lexicon import Lexicon
from ...types import Json
from .settings import Experiment
from .units import SCHEMAS


def run_settings(vlm: VLM, data: Mapping[str, Json], experiment: Experiment) -> dict[str, Json]:
    """Everything that decides what the results of an experiment on a model and some data are."""
    scorers: dict[str, Json] = {name: scorer(name, **dict(options)) for name, options in experiment.metrics.items()}
    drawn = told(experiment.edit)
    truth: dict[str, Json] = {concept: [*neurons.addresses] for concept, neurons in planted(vlm).items()}
    return {
        **experiment.settings(),
        **({"inpainter": dict(drawn)} if drawn else {}),
        "model": vlm.record(),
        "sent": vlm.sent(experiment.decoding),
        "data": dict(data),
        "lexicon": Lexicon.default().version,
        "scorers": scorers,
        "truth": hashlib.sha256(canonical(truth, "planted").encode()).hexdigest()[:16] if truth else None,
    }


def open_run(folder: str | Path, vlm: VLM, data: Mapping[str, Json], experiment: Experiment) -> Run:
    """Create the run directory, or go on with one of the same experiment, model and data.

    Raises RunMismatch naming what differs.
    """
    return Run.open(folder, run_settings(vlm, data, experiment), schemas=SCHEMAS)
