"""Methods by name."""

import dataclasses

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.locate import METHODS, Pan, Random, TwoStage, equal_size, method, register_method, registry
from neuronscope.locate.validity import check_validity


@pytest.mark.parametrize("name", METHODS)
def test_names_agree(name):
    assert method(name).name == name


def test_options_are_set_and_checked():
    assert method("pan", count=30, pool="max") == Pan(count=30, pool="max")
    assert method("stage-2").stages == (2,)
    with pytest.raises(InvalidOption, match=r"method='pann' is not known\. Did you mean 'pan'\?"):
        method("pann")
    with pytest.raises(InvalidOption, match=r"option of method 'pan'='pol' is not known\. Did you mean 'pool'"):
        method("pan", pol="max")
    with pytest.raises(InvalidOption, match="pool='most' is not known"):
        method("pan", pool="most")
    with pytest.raises(InvalidOption, match="'count' is not known"):
        method("two-stage", count=3)
    with pytest.raises(InvalidOption, match="'count' is not known"):
        method("random-layer-matched", count=3)


def test_equal_size():
    found = ns.Neurons.of([(0, 1), (2, 5), (2, 6)])
    assert equal_size(Pan(), found) == Pan(count=3)
    assert equal_size(method("random-layer-matched"), found).like == found
    assert equal_size(TwoStage(), found) == TwoStage()


def test_a_method_of_ones_own(monkeypatch):
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    monkeypatch.setattr(registry, "METHODS", registry._TABLE)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(Random):
        name: str = "mine"

    register_method("mine", Mine)
    assert method("mine", seed=4) == Mine(seed=4)
    for taken in ("mine", "pan"):
        with pytest.raises(InvalidOption, match=f"name='{taken}' is taken; methods: two-stage"):
            register_method(taken, Mine)
    with pytest.raises(InvalidOption, match="empty"):
        register_method("", Mine)


#: Their gradients are those of others; they take many.
SLOW = {"learned-mask", "integrated-gradients-published", "integrated-gradients"}


@pytest.fixture
def known(vlm, speaks):
    """A picture whose edit makes the word less likely, and so do all neurons patched from it."""
    speaks(vlm, "brown bear on grass", "grass")
    image = np.random.default_rng(19).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    pair = ns.counterfactual(ns.Sample(image, "bear", boxes=[(4, 4, 16, 16)]))
    return pair, check_validity(vlm, pair)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - SLOW))
def test_every_method_finds_sets_at_another_site(vlm, known, name):
    """By reading there where it has the choice, and otherwise by where its set acts; filters may keep none here."""
    site = "pre" if name in ("two-stage", "random") else "act"
    option, (pair, validity) = registry.site_option(method(name), site), known
    few = {"points": 2, "rounds": 1}  # each of them is one gradient
    has = {field.name: getattr(method(name), field.name) for field in dataclasses.fields(method(name))}
    short = {option: min(few[option], own) for option, own in has.items() if option in few}
    short |= {"count": 5} if "count" in has and "matched" not in name else {}
    short |= {"like": ns.Neurons.of([(0, 1)])} if "matched" in name else {}
    short |= {"decoding": ns.Decoding(max_new_tokens=3)} if "decoding" in has else {}
    found = method(name, **option, **short).locate(vlm, pair, validity=validity)
    assert found.neurons.site == site
