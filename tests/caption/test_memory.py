"""A device on which only few rows fit: every operation halves its batches, and its results are the same."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption.memory import Batches
from neuronscope.cures import memory_cure, out_of_memory
from neuronscope.edit import Learned
from neuronscope.errors import NeuronscopeError, NotEnoughMemory
from neuronscope.evaluate.editing.reading import Probes, read
from neuronscope.evaluate.truth import planted
from neuronscope.locate import method
from neuronscope.locate.scores import activation_differences
from neuronscope.locate.validity import valid_pair
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.view.trace import occlusion

SHORT = ns.Decoding(max_new_tokens=6)
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines follow")
CPU = RuntimeError("[alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")


@contextmanager
def room_for(vlm, rows, error):
    """Every decoder layer fails for more rows than these; gives the numbers of rows that it was asked for."""
    asked = []

    def look(module, arguments, keywords):
        hidden = arguments[0] if arguments else keywords["hidden_states"]
        asked.append(hidden.shape[0])
        if hidden.shape[0] > rows:
            raise error

    handles = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in vlm.structure.layers]
    try:
        yield asked
    finally:
        for handle in handles:
            handle.remove()


@pytest.fixture(scope="module")
def pair(demo):
    return valid_pair(demo, scenes_of("bear", 3, seed=3)[0])


@pytest.fixture(scope="module")
def bears():
    return [sample.load() for sample in scenes_of("bear", 4, seed=4)]


def _occluded(vlm, pair, bears):
    from neuronscope.tokens import ImageTokens

    where = vlm.prepare([pair[0].original]).images[0]
    tile = replace(where.tiles[0], tokens=where.tiles[0].tokens[:1])
    return occlusion(vlm, pair[0].original, planted(vlm)["bear"], ImageTokens(where.positions, (tile,)))


def _learned(vlm, pair, bears):
    editor = Learned(source="bear", target="horse", start="embed", steps=1, patience=1)
    edit = editor.edit(vlm, planted(vlm)["bear"], bears[:3], keep=bears[3:4])
    return np.concatenate([columns.numpy().ravel() for columns in edit.new.values()])


def _single(vlm, pair, bears):
    members = ns.Neurons.of((layer, unit) for layer in (2, 5) for unit in range(9))
    return ns.effects(vlm, pair[0], members, validity=pair[1]).values


def _plainly(vlm, pair, bears):
    from neuronscope.locate import Exchange
    from neuronscope.locate.target import concept_word

    exchange = Exchange.of(vlm, pair[0].original, pair[0].edited, concept_word(pair[1]), ns.Decoding())
    return exchange.plain_effects([np.arange(sum(vlm.widths)) % 7 == k for k in range(7)])


def _ranked(name, **options):
    def work(vlm, pair, bears):
        scores = method(name, **options).score(vlm, pair[0], pair[1])
        return scores.arrays[scores.by].values

    return work


WORK = {
    "captions of several pictures": lambda vlm, pair, bears: vlm.captions(bears[:3], decoding=SHORT),
    "captions under noise": lambda vlm, pair, bears: vlm.captions(
        bears[:2], ns.Noise(planted(vlm)["bear"], level=2.0, draws=2), decoding=SHORT
    ),
    "exact effects": _single,
    "plain effects": _plainly,
    "differences from several pictures": lambda vlm, pair, bears: np.stack(
        [one.values for one in activation_differences(vlm, pair[0].original, bears[:3], site="neuron")]
    ),
    "integrated gradients": _ranked("integrated-gradients", steps=3),
    "a learned mask": _ranked("learned-mask", among=method("difference-x-gradient"), candidates=3, steps=1, draws=3),
    "an occlusion": _occluded,
    "a learned edit": _learned,
    "what an edit is measured by": lambda vlm, pair, bears: list(
        read(vlm, Probes(bears[:1], tuple(bears[:3]), bears[:1], texts=())).nll
    ),
}


@pytest.mark.parametrize("name", WORK)
def test_halved_and_equal(demo, pair, bears, name):
    expected = WORK[name](demo, pair, bears)
    with room_for(demo, 2, CUDA if len(name) % 2 else CPU) as asked:
        found = WORK[name](demo, pair, bears)
    assert max(asked) > 2
    if "caption" in name:
        assert found == expected
    else:
        assert np.asarray(found) == pytest.approx(np.asarray(expected), rel=1e-3, abs=2e-4)


SINGLE = {
    "captions": lambda vlm, pair: vlm.captions([pair[0].original]),
    "locate": lambda vlm, pair: ns.TwoStage().locate(vlm, pair[0], validity=pair[1]),
    "grad-x-activation": lambda vlm, pair: method("grad-x-activation").locate(vlm, pair[0], validity=pair[1]),
    "heat map": lambda vlm, pair: ns.heatmap(vlm, pair[0].original, planted(vlm)["bear"]),
    "edit": lambda vlm, pair: _learned(vlm, pair, [pair[0].original] * 4),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_row_too_many_is_one_sentence_with_cures(demo, pair, name):
    error = (CUDA, CPU, MemoryError())[len(name) % 3]
    with room_for(demo, 0, error), pytest.raises(NotEnoughMemory) as refused:
        SINGLE[name](demo, pair)
    told = str(refused.value)
    assert "there is not enough memory for a single row" in told
    assert "max_pixels" in told
    assert "--estimate" in told
    assert "More lines" not in told


def test_a_verb_says_it_in_one_line(demo, monkeypatch, tmp_path, capsys):
    from neuronscope.cli import caption as verb
    from neuronscope.cli import main

    scenes_of("bear", 1)[0].load().save(tmp_path / "bear.png")
    monkeypatch.setattr(verb, "open_model", lambda *_, **__: demo)
    with room_for(demo, 0, CUDA), pytest.raises(SystemExit) as stop:
        main(["caption", str(tmp_path / "bear.png"), "--quiet"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("neuronscope: there is not enough memory for a single row: CUDA out of")


@pytest.mark.parametrize(("size", "room"), [(8, 8), (8, 3), (5, 1), (100, 7), (1, 1)])
def test_batches(size, room):
    seen = []

    def work(rows):
        seen.append(len(rows))
        for row in rows:
            if len(rows) > room:
                raise CPU
            yield 2 * row

    batches = Batches(size)
    assert batches.run(range(20), work) == [2 * row for row in range(20)]
    assert batches.size <= max(room, size if size <= room else room)
    assert sum(n for n in seen if n <= room) == 20
    assert batches.run(range(3), work, most=1) == [0, 2, 4]


def test_other_errors_are_left_alone(demo, pair):
    wrong = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not out_of_memory(wrong)
    with room_for(demo, 0, wrong), pytest.raises(RuntimeError, match="mat1") as raised:
        ns.heatmap(demo, pair[0].original, planted(demo)["bear"])
    assert not isinstance(raised.value, NeuronscopeError)
    assert "MemoryError" in memory_cure(MemoryError())


def test_an_edit_in_the_middle_of_which_memory_fails_leaves_no_trace(demo, pair, bears):
    before = {name: value.clone() for name, value in demo.model.state_dict().items()}
    with room_for(demo, 0, CUDA), pytest.raises(NotEnoughMemory):
        _learned(demo, pair, bears)
    assert all(torch.equal(value, before[name]) for name, value in demo.model.state_dict().items())
    assert replace(pair[1]) == pair[1]
