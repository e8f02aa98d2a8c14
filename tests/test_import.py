import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import neuronscope as ns

ROOT = Path(__file__).parents[1]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_needs_neither_torch_nor_transformers():
    loaded = run(
        "import sys, neuronscope; print([m for m in ('torch', 'transformers', 'cv2', 'numpy') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom neuronscope.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as stop: assert not stop.code\n"
        "print([m for m in ('torch', 'transformers', 'cv2', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "locate" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", ns.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(ns, name)
    assert isinstance(value, str) or value.__doc__


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'TwoStages'"):
        ns.TwoStages  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [f"{p.parent.name}.{p.stem}" for name in ("benchmarks", "training") for p in sorted((ROOT / name).glob("*.py"))],
)
def test_what_lies_beside_the_package_finds_its_names(module, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import_module(module)
