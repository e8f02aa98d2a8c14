"""Editors by name."""

import dataclasses

import pytest

import neuronscope as ns
from neuronscope.edit import EDITORS, Ablate, Amplify, Learned, Swap, editor, register_editor, registry
from neuronscope.errors import InvalidOption

GIVEN = {"source": "bear", "target": "dog", "donors": ns.Neurons.of([(0, 1)])}


@pytest.mark.parametrize("name", EDITORS)
def test_names_agree(name):
    needed = [option for option, must in registry.editor_options(name).items() if must]
    assert editor(name, **{option: GIVEN[option] for option in needed}).name == name


def test_options_are_set_and_checked():
    assert ns.editor("swap", source="bear", target="dog", alpha=2.0) == Swap(source="bear", target="dog", alpha=2.0)
    assert editor("learned", source="bear", target="dog", steps=3) == Learned(source="bear", target="dog", steps=3)
    assert editor("ablate") == Ablate()
    with pytest.raises(InvalidOption, match=r"editor='swop' is not known\. Did you mean 'swap'\?"):
        editor("swop")
    with pytest.raises(InvalidOption, match=r"option of editor 'amplify'='factr' is not known\. Did you mean 'factor'"):
        editor("amplify", factr=2.0)
    with pytest.raises(InvalidOption, match="editor 'graft' needs target, donors"):
        editor("graft", source="bear")


def test_an_editor_of_ones_own(monkeypatch):
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    monkeypatch.setattr(registry, "EDITORS", registry._TABLE)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(Amplify):
        seed: int = 0

    ns.register_editor("mine", Mine)
    assert editor("mine", seed=4) == Mine(seed=4)
    for taken in ("mine", "swap"):
        with pytest.raises(InvalidOption, match=f"name='{taken}' is taken; editors: swap"):
            register_editor(taken, Mine)
    with pytest.raises(InvalidOption, match="empty"):
        register_editor("", Mine)
