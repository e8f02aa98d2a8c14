"""Activations and gradients layer by layer: against autograd by hand, and with nothing left behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import neuronscope as ns
from neuronscope.architecture.structure import FFN, Structure
from neuronscope.errors import InvalidOption
from neuronscope.hooks.backward import GradientSession, Place

Found = dict[Place, tuple[Tensor, Tensor]]


def into(found: Found) -> Callable[[Place, Tensor, Tensor], None]:
    return lambda place, clean, slope: found.__setitem__(place, (clean.clone(), slope.clone()))


class Scaled(nn.Module):
    """A layer that adds w * n to its input, n = z * z."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.down_proj = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.down_proj.weight, weight)
        self.requires_grad_(False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + self.down_proj(hidden_states * hidden_states)


def toy(*weights: float) -> tuple[list[Scaled], Structure]:
    layers = [Scaled(weight) for weight in weights]
    ffns = tuple(FFN("", layer.down_proj, None, layer, 1) for layer in layers)
    return layers, Structure(tuple(layers), ffns, None, nn.Identity(), 1)


def test_two_layers_by_hand():
    """h0 = (2, 3); n0 = (4, 9); h1 = h0 + n0/2 = (4, 7.5); n1 = h1^2 = (16, 56.25); y = h1[1] + 3 n1[1].

    dy/dn1 = (0, 3), dy/dh1[1] = 1 + 3 * 2 * 7.5 = 46, dy/dn0 = (0, 23). Position 1 is read.
    """
    layers, structure = toy(0.5, 3.0)
    found: Found = {}
    places: list[Place] = [(0, "neuron"), (1, "neuron")]
    with GradientSession(structure, places, torch.tensor([1])) as session:
        with session.forward():
            hidden = layers[1](layers[0](torch.tensor([[[2.0], [3.0]]])))
        session.backward(hidden[0, 1, 0], into(found))
    assert list(found) == [(1, "neuron"), (0, "neuron")]  # as the backward pass reaches them
    assert [(float(z), float(g)) for z, g in found.values()] == [(56.25, 3.0), (9.0, 23.0)]


@pytest.mark.parametrize("positions", [[0], [0, 1], [1, 0], [0, 2]])
def test_positions_side_by_side_or_not(positions: list[int]):
    layers, structure = toy(0.5, 3.0)
    found: Found = {}
    with GradientSession(structure, [(0, "neuron"), (1, "neuron")], torch.tensor(positions)) as session:
        with session.forward():
            hidden = layers[1](layers[0](torch.tensor([[[2.0], [3.0], [1.0]]])))
        session.backward(hidden.sum(), into(found))
    h1 = torch.tensor([4.0, 7.5, 1.5])
    assert found[1, "neuron"][0][:, 0].tolist() == (h1**2)[positions].tolist()
    assert found[0, "neuron"][1][:, 0].tolist() == (0.5 * (1 + 6 * h1))[positions].tolist()


@pytest.mark.parametrize("positions", [[0, 1], [1], [2, 0]])
def test_rows_of_a_batch_are_read_together_as_each_alone(positions: list[int]):
    layers, structure = toy(0.5, 3.0)
    rows = torch.tensor([[2.0, 3.0, 1.0], [4.0, -1.0, 0.5]])[:, :, None]
    places: list[Place] = [(0, "neuron"), (1, "neuron")]

    def passed(batch: Tensor, row: int | None) -> Found:
        found: Found = {}
        with GradientSession(structure, places, torch.tensor(positions), row=row) as session:
            with session.forward():
                hidden = layers[1](layers[0](batch))
            session.backward(hidden.sum(), into(found))
        return found

    together = passed(rows, None)
    for number, row in enumerate(rows):
        for alone, of in ((passed(row[None], 0), 0), (passed(rows, number), number)):
            for place, (values, slopes) in alone.items():
                assert values.shape == slopes.shape == (len(positions), 1), of
                assert torch.equal(together[place][0][number], values)
                assert torch.equal(together[place][1][number], slopes)


def test_a_place_that_the_target_does_not_depend_on_is_zero():
    layers, structure = toy(0.5, 3.0)
    found: Found = {}
    with GradientSession(structure, [(0, "neuron"), (1, "neuron")], torch.tensor([0])) as session:
        with session.forward():
            first = layers[0](torch.tensor([[[2.0]]]))
            layers[1](first)
        session.backward(first.sum(), into(found))
    assert [float(g) for _, g in (found[0, "neuron"], found[1, "neuron"])] == [0.5, 0.0]
    assert float(found[1, "neuron"][0]) == 16.0


def test_a_layer_that_runs_twice_counts_once():
    """Shared layers: the last time."""
    layers, structure = toy(0.5)
    found: Found = {}
    with GradientSession(structure, [(0, "neuron")], torch.tensor([0])) as session:
        with session.forward():
            hidden = layers[0](layers[0](torch.tensor([[[2.0]]])))
        session.backward(hidden.sum(), into(found))
    assert (float(found[0, "neuron"][0]), float(found[0, "neuron"][1])) == (16.0, 0.5)


def test_sites_of_a_layer_share_the_passes(vlm: ns.VLM, picture: Image.Image):
    """Neurons are a * u to the bit, at whatever layer, and the gradients are those of `torch.autograd.grad`."""
    inputs, at = vlm.prepare([picture]), torch.as_tensor(vlm.prepare([picture]).images[0].positions)
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[..., tuple[Tensor]]:
        def run(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            kept[layer] = args[0].requires_grad_()
            return (kept[layer],)

        return run

    handles = [ffn.output.register_forward_pre_hook(keep(i)) for i, ffn in enumerate(vlm.structure.ffns)]
    y = vlm.logits(inputs)[0, -1, 5]
    slopes = torch.autograd.grad(y, list(kept.values()))
    for handle in handles:
        handle.remove()
    found: Found = {}
    places: list[Place] = [(layer, site) for layer in range(vlm.layers) for site in ("neuron", "pre")]
    passes: list[int] = []
    counter = vlm.model.register_forward_hook(lambda *_: passes.append(1))
    with GradientSession(vlm.structure, places, at) as session:
        with session.forward():
            y = vlm.logits(inputs)[0, -1, 5]
        session.backward(y, into(found))
    counter.remove()
    assert len(passes) == 1
    assert set(found) == set(places)
    for layer, (z, slope) in enumerate(zip(kept.values(), slopes, strict=True)):
        clean, own = found[layer, "neuron"]
        assert torch.equal(clean, z[0, at])
        assert torch.equal(own, slope[0, at])


def test_nothing_stays_after_an_error(vlm: ns.VLM, picture: Image.Image):
    inputs = vlm.prepare([picture])
    hooks = [(len(m._forward_pre_hooks), len(m._forward_hooks)) for m in vlm.model.modules()]

    def stop(*_: object) -> None:
        raise ZeroDivisionError

    with GradientSession(vlm.structure, [(1, "neuron")], torch.arange(4)) as session:
        with session.forward():
            y = vlm.logits(inputs).sum()
        alive = weakref.ref(y)
        with pytest.raises(ZeroDivisionError):
            session.backward(y, stop)
    del y
    gc.collect()
    assert alive() is None
    assert hooks == [(len(m._forward_pre_hooks), len(m._forward_hooks)) for m in vlm.model.modules()]
    assert not any(vars(session)[name] for name in ("_roots", "_clean", "_handles", "_waiting"))


def test_gated_neurons_are_not_kept_twice(vlm: ns.VLM, picture: Image.Image):
    """Behind the forward pass nobody holds a layer's neurons; autograd holds their two factors."""
    seen: dict[int, weakref.ref[Tensor]] = {}
    last = vlm.layers - 1
    watch = vlm.structure.ffns[last].output.register_forward_hook(
        lambda _m, args, _o: seen.__setitem__(last, weakref.ref(args[0]))
    )
    with GradientSession(vlm.structure, [(0, "neuron"), (last, "neuron")], torch.arange(2, 6)) as session:
        with session.forward():
            y = vlm.logits(vlm.prepare([picture]))[0, -1, 5]
        assert seen[last]() is None
        found: Found = {}
        session.backward(y, into(found))
    watch.remove()
    assert found[last, "neuron"][0].any()


def test_a_site_that_is_not_there_is_refused():
    _, structure = toy(1.0)
    with pytest.raises(InvalidOption, match="site 'pre' cannot be hooked in layer 0"):
        GradientSession(structure, [(0, "pre")], torch.tensor([0])).forward()


def test_products_with_numbers_are_kept_as_they_are():
    """n = 2 z is a product, too, but not of two tensors of its shape."""

    class Doubled(Scaled):
        def forward(self, hidden_states: Tensor) -> Tensor:
            return hidden_states + self.down_proj(2 * hidden_states)

    layers = [Scaled(1.0), Doubled(1.0)]
    ffns = tuple(FFN("", layer.down_proj, None, layer, 1) for layer in layers)
    structure = Structure(tuple(layers), ffns, None, nn.Identity(), 1)
    found: Found = {}
    with GradientSession(structure, [(0, "neuron"), (1, "neuron")], torch.tensor([0])) as session:
        with session.forward():
            hidden = layers[1](layers[0](torch.tensor([[[3.0]]])))
        session.backward(hidden.sum(), into(found))
    assert [(float(z), float(g)) for z, g in found.values()] == [(24.0, 1.0), (9.0, 3.0)]
