"""Which tests are slow or long; shared fixtures (shared.py), and shape checks while tests run."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Without compiled files every process that a test starts compiles the package anew, for seconds each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

sys.path.insert(0, str(Path(__file__).parent))
import shape_checker

shape_checker.install("neuronscope")


def pytest_configure(config: pytest.Config) -> None:
    """Bring the shared fixtures; the process that only hands tests out to others needs no models."""
    if not config.getoption("numprocesses", 0):
        gc.disable()  # looking for garbage among what is imported takes a quarter of the time until tests begin
        config.pluginmanager.import_plugin("shared")


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, and for much of it at a time."""
    gc.freeze()
    gc.unfreeze()  # what was there before is old now, and nobody has looked through it
    gc.set_threshold(10_000)
    gc.enable()


#: Folders and files of tests that take more than a newcomer's minute; `pytest -m "not slow"` leaves them out.
SLOW = (
    "benchmarks",
    "architecture/test_devices.py",
    "architecture/test_quantised.py",
    "browser",
    "caption",
    "check",
    "cli",
    "cluster",
    "docs",
    "edit",
    "evaluate",
    "examples",
    "explorer",
    "hooks/test_backward.py",
    "hooks/test_routed.py",
    "hooks/test_skip.py",
    "intervene/test_towers.py",
    "loading",
    "locate/test_attributions.py",
    "locate/test_discovery.py",
    "locate/test_families.py",
    "locate/test_real_photographs.py",
    "models",
    "paper",
    "refusals",
    "report",
    "run",
    "samples/test_coco.py",
    "samples/test_inpaint.py",
    "studies",
    "test_files.py",
    "test_import.py",
    "test_versions.py",
    "tokens/test_several.py",
    "view",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without slow tests, what they import is not imported either."""
    slow = any(Path(__file__).parent / part == collection_path for part in SLOW)
    return True if slow and config.option.markexpr == "not slow" else None


#: Files of tests that take longest, the longest first: they are begun first, so that processes end together.
LONGEST = (
    "docs/test_blocks.py",
    "check/test_suite.py",
    "architecture/test_devices.py",
    "cluster/test_ray.py",
    "studies/reproduce/test_work.py",
    "models/test_cross_attention.py",
    "test_cases.py",
    "cli/test_locate.py",
    "cli/test_asking.py",
    "docs/test_site.py",
    "locate/test_recovery.py",
    "paper/test_sato_takagi.py",
    "studies/demo/test_study.py",
    "refusals/test_parts.py",
    "explorer/test_session.py",
    "refusals/test_verbs.py",
    "cli/test_reproduce.py",
    "refusals/test_files.py",
    "studies/discover/test_work.py",
    "cluster/test_resources.py",
    "cli/test_truth.py",
    "explorer/test_cli.py",
    "examples/test_notebooks.py",
    "users/test_walks.py",
    "models/test_several_images.py",
    "run/test_directory.py",
    "held/test_interrupts.py",
    "cli/test_edit.py",
    "loading/checks/test_image.py",
    "studies/repair/test_work.py",
    "locate/test_validity.py",
    "models/test_natural.py",
    "view/test_figures.py",
    "caption/test_captioner_families.py",
    "cli/test_suppress.py",
    "refusals/test_python.py",
    "locate/test_learned_mask.py",
    "models/test_greedy.py",
    "check/test_dtypes.py",
    "cli/test_data.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, mark as slow what SLOW names, and leave out long tests unless asked for."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if item.get_closest_marker("long") and os.environ.get("NEURONSCOPE_LONG") != "all":
            item.add_marker(pytest.mark.skip(reason="takes long; NEURONSCOPE_LONG=all runs it"))
    slow = {Path(__file__).parent / part for part in SLOW}
    known = {path: not slow.isdisjoint((path, *path.parents)) for path in {item.path for item in items}}
    for item in items:
        if known[item.path]:
            item.add_marker(pytest.mark.slow)
