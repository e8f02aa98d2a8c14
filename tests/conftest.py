"""Which tests are slow or long; shared fixtures (shared.py), and shape checks while tests run."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
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


#: What the second of several processes imports first: in a first run each then compiles what the other has not.
LATER = ("sympy", "pandas", "scipy.optimize", "matplotlib.pyplot", "ray", "hypothesis")


def pytest_configure(config: pytest.Config) -> None:
    """Bring the shared fixtures; the process that only hands tests out to others needs no models."""
    if not config.getoption("numprocesses", 0):
        gc.disable()  # looking for garbage among what is imported takes a quarter of the time until tests begin
        if getattr(config, "workerinput", {}).get("workerid") == "gw1":
            for name in LATER:
                with suppress(ImportError):  # what is missed is said where it is needed
                    import_module(name)
        config.pluginmanager.import_plugin("shared")


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, and for much of it at a time."""
    gc.freeze()
    gc.unfreeze()  # what was there before is old now, and nobody has looked through it
    gc.set_threshold(10_000)
    gc.enable()


def pytest_sessionfinish() -> None:
    """Leave the garbage of all tests to the end of the process: pytest would look through everything five times."""
    gc.freeze()


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
    "held/test_interrupts.py",
    "hooks/test_backward.py",
    "hooks/test_routed.py",
    "hooks/test_skip.py",
    "intervene/test_towers.py",
    "loading",
    "locate/test_attributions.py",
    "locate/test_ceiling.py",
    "locate/test_concept.py",
    "locate/test_discovery.py",
    "locate/test_families.py",
    "locate/test_learned_mask.py",
    "locate/test_real_photographs.py",
    "locate/test_recovery.py",
    "locate/test_validity.py",
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
    "users",
    "view",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without slow tests, what they import is not imported either."""
    slow = any(Path(__file__).parent / part == collection_path for part in SLOW)
    return True if slow and config.option.markexpr == "not slow" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what SLOW names, and leave out long tests unless asked for."""
    for item in items:
        if item.get_closest_marker("long") and os.environ.get("NEURONSCOPE_LONG") != "all":
            item.add_marker(pytest.mark.skip(reason="takes long; NEURONSCOPE_LONG=all runs it"))
    slow = {Path(__file__).parent / part for part in SLOW}
    known = {path: not slow.isdisjoint((path, *path.parents)) for path in {item.path for item in items}}
    for item in items:
        if known[item.path]:
            item.add_marker(pytest.mark.slow)
