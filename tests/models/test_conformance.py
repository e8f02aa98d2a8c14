"""Every family of the table passes every check that applies to it, on a tiny random model from its real config."""

from __future__ import annotations

import pytest

import neuronscope as ns
from neuronscope.models.conformance import conformance
from neuronscope.models.families import FAMILIES
from zoo import ZOO


@pytest.mark.parametrize("name", ZOO)
def test_family(name: str):
    animal = ZOO[name]
    if FAMILIES[animal.model_type].refused:
        pytest.fail("a family that cannot be studied does not belong into the zoo")
    vlm = ns.load(animal.build(), check=False)
    report = conformance(vlm)
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []
