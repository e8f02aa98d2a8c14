"""Each saving of the caption engine by itself: it saves what it says, and captions stay those of the plain path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import DynamicCache

import neuronscope as ns
from neuronscope.caption import Caption, Captioner, generate_captions
from neuronscope.caption.clean import EndingCache
from neuronscope.caption.drafts import Drafts
from neuronscope.caption.generation import buckets
from neuronscope.caption.memory import free_bytes, row_bytes, rows_that_fit
from neuronscope.caption.prefill import Pass
from neuronscope.caption.shortcuts import Engine
from neuronscope.cures import out_of_memory
from neuronscope.errors import InvalidOption, NotEnoughMemory
from neuronscope.hooks.skip import Enough
from neuronscope.intervene.operations import identity

SWITCHES = [field.name for field in fields(Engine) if field.type == "bool"]
SHORT = ns.Decoding(max_new_tokens=8)
STRONG = ns.Noise(ns.Neurons.of([(layer, unit) for layer in (1, 2, 3) for unit in range(0, 48, 2)]), level=30, draws=5)
LAST = ns.Neurons.of([(3, unit) for unit in range(48)])


@contextmanager
def ending_at(vlm: ns.VLM, token: int) -> Iterator[None]:
    """Another token ends captions, so that they end at different steps."""
    config = vlm.model.generation_config
    before, config.eos_token_id = config.eos_token_id, token
    try:
        yield
    finally:
        config.eos_token_id = before


@contextmanager
def counting(vlm: ns.VLM, layer: int) -> Iterator[list[tuple[int, int]]]:
    """(rows, positions) of each call of a layer."""
    calls: list[tuple[int, int]] = []
    handle = vlm.structure.layers[layer].register_forward_hook(
        lambda _module, _args, output: calls.append(tuple((output if torch.is_tensor(output) else output[0]).shape[:2]))
    )
    try:
        yield calls
    finally:
        handle.remove()


def ragged_end(captions: list[Caption], steps: int) -> int:
    """The token at which half of the captions would end by half of the steps, and one not at all."""
    ends: dict[int, list[int]] = {}
    for token in {token for caption in captions for token in caption.ids}:
        ends[token] = sorted(c.ids.index(token) if token in c.ids else steps for c in captions)
    fitting = [token for token, at in ends.items() if at[(len(at) - 1) // 2] < steps // 2 and at[-1] == steps]
    return max(fitting, key=lambda token: len(set(ends[token])))


@pytest.fixture(scope="module")
def plainly(vlm: ns.VLM, pictures: list[Image.Image]) -> list[list[Caption]]:
    """What the plain path writes under STRONG."""
    return generate_captions(vlm, pictures, STRONG, decoding=SHORT)


@pytest.mark.parametrize("name", [*SWITCHES, "all"])
def test_captions_do_not_depend_on_a_switch(
    vlm: ns.VLM, pictures: list[Image.Image], plainly: list[list[Caption]], name: str
):
    engine = Engine.off() if name == "all" else replace(Engine(), **{name: False})
    captioner = Captioner(vlm, pictures, decoding=SHORT, engine=engine, batch_size=7)
    assert captioner.captions(STRONG) == plainly
    assert captioner.used[1] == engine


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    pairs=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 47)), min_size=1, max_size=30),
    level=st.sampled_from([1.0, 10.0, 60.0]),
    draws=st.integers(1, 10),
    batch=st.integers(1, 20),
    end=st.integers(1, 23),
    sharing=st.sampled_from(["shared", "per_neuron"]),
    site=st.sampled_from(["neuron", "act", "pre"]),
    relative=st.booleans(),
    steps=st.integers(1, 7),
)
def test_captions_are_those_of_the_plain_path(
    vlm: ns.VLM, pictures: list[Image.Image], pairs, level, draws, batch, end, sharing, site, relative, steps
):
    decoding = ns.Decoding(max_new_tokens=steps)
    found = ns.Neurons.of(sorted(pairs), site=site)
    noise = ns.Noise(found, level=level, draws=draws, sharing=sharing, relative=relative)
    with ending_at(vlm, end):
        expected = generate_captions(vlm, pictures[:2], noise, decoding=decoding)
        assert Captioner(vlm, pictures[:2], decoding=decoding, batch_size=batch).captions(noise) == expected


@pytest.mark.parametrize("engine", [Engine(), Engine(draft=False)])
def test_rows_that_ended_leave_the_batch(vlm: ns.VLM, pictures: list[Image.Image], engine: Engine):
    noise = replace(STRONG, draws=6)
    plain = generate_captions(vlm, pictures, noise, decoding=SHORT)
    with ending_at(vlm, ragged_end([c for row in plain for c in row], 8)):
        expected = generate_captions(vlm, pictures, noise, decoding=SHORT)
        captioner = Captioner(vlm, pictures, decoding=SHORT, engine=engine)
        captioner.captions(ns.Zero(ns.Neurons.of([(1, 0)])))  # proves the layer
        with counting(vlm, 0) as calls:
            assert captioner.captions(noise) == expected
    assert len({len(c.ids) for row in expected for c in row}) > 2
    assert calls[0][0] == 18 > min(rows for rows, _ in calls)
    assert sum(rows for rows, positions in calls if positions == 1) < 8 * 18


def test_several_interventions_in_one_batch(vlm: ns.VLM, pictures: list[Image.Image]):
    changes = [
        STRONG,
        None,
        ns.Zero(ns.Neurons.of([(2, unit) for unit in range(48)])),
        ns.Zero(LAST),
        ns.Noise(ns.Neurons.of([(2, 5), (1, 7)], site="act"), level=50, draws=2),
        ns.Noise(ns.Neurons.of([(0, 3)]), span="text", level=50, draws=2),
        ns.Zero(ns.Neurons(())),
    ]
    captioner = Captioner(vlm, pictures, decoding=SHORT)
    expected = [generate_captions(vlm, pictures, change, decoding=SHORT) for change in changes]
    assert captioner.captions_under(changes) == expected
    chosen = [[row[2], row[0], row[2]] for row in expected]
    assert Captioner(vlm, pictures, decoding=SHORT).captions_under(changes, rows=[2, 0, 2]) == chosen


def test_interventions_share_a_batch(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures[:1], decoding=SHORT)
    zeros = [ns.Zero(ns.Neurons.of([(1, unit), (2, unit)])) for unit in range(6)]
    captioner.captions(ns.Zero(ns.Neurons.of([(1, 40)])))  # proves the layer
    with counting(vlm, 2) as calls:
        captioner.captions_under(zeros)
    assert calls[0][0] == 6


def test_neurons_of_the_last_layer_cost_nothing(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures, decoding=SHORT)
    clean = captioner.captions()
    with counting(vlm, 3) as calls:
        assert captioner.captions(ns.Noise(LAST, level=100, draws=3)) == [row * 3 for row in clean]
    assert not calls


def test_equal_interventions_are_computed_once(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures, decoding=SHORT)
    turned = replace(STRONG, neurons=ns.Neurons.of(reversed([(n.layer, n.unit) for n in STRONG.neurons])))
    first, second = captioner.captions_under([STRONG, turned])
    with counting(vlm, 2) as calls:
        assert captioner.captions(turned) == second == first
        assert captioner.captions(STRONG, rows=[1]) == [first[1]]
    assert not calls
    with counting(vlm, 2) as calls:
        captioner.captions(replace(STRONG, seed=1))
    assert calls


def test_what_is_remembered_is_bounded(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures, decoding=SHORT, engine=Engine(remember=6))
    captioner.captions(STRONG)  # 15 captions: 5 of the last image are kept
    with counting(vlm, 2) as calls:
        captioner.captions(STRONG, rows=[2])
        assert not calls
        captioner.captions(STRONG, rows=[0])
        assert calls


def test_identity_of_interventions():
    pairs = [(1, 2), (0, 5)]
    one, other = ns.Neurons.of(pairs), ns.Neurons.of(pairs[::-1])
    assert identity(ns.Zero(one)) == identity(ns.Zero(other)) != identity(ns.Scale(one, factor=0.0))
    assert identity(ns.Noise(one, level=1)) != identity(ns.Noise(one, level=2))
    assert identity(ns.Mean(one, means=(1.0, 2.0))) == identity(ns.Mean(other, means=(2.0, 1.0)))
    assert identity(ns.Mean(one, means=(1.0, 2.0))) != identity(ns.Mean(other, means=(1.0, 2.0)))
    source = np.arange(6.0).reshape(3, 2)
    assert identity(ns.Patch(one, source=source)) == identity(ns.Patch(other, source=source[:, ::-1]))
    assert identity(ns.Zero(one)) != identity(ns.Zero(ns.Neurons.of(pairs, site="act")))

    class Own(ns.Zero):
        pass

    assert identity(Own(one)) is None


def test_captions_may_stop_at_a_match(vlm: ns.VLM, pictures: list[Image.Image]):
    def cut(caption: Caption, word: str) -> str:
        for count in range(1, len(caption.ids) + 1):
            text = vlm.tokenizer.decode(caption.ids[:count], skip_special_tokens=True)
            if word in text:
                return text
        return caption.text

    decoding = ns.Decoding(max_new_tokens=12)
    expected = generate_captions(vlm, pictures, STRONG, decoding=decoding)
    word = max((c.text for row in expected for c in row), key=len).split()[1]
    for engine in (Engine(), Engine(draft=False)):
        captioner = Captioner(vlm, pictures, decoding=decoding, engine=engine)
        found = captioner.captions(STRONG, until=lambda text: word in text)
        assert [[c.text for c in row] for row in found] == [[cut(c, word) for c in row] for row in expected]
        assert captioner.captions(STRONG) == expected  # what was cut is not remembered


def test_a_stopped_caption_is_not_written_on(vlm: ns.VLM, pictures: list[Image.Image]):
    captioner = Captioner(vlm, pictures[:1], engine=Engine(draft=False))
    captioner.captions(ns.Zero(ns.Neurons.of([(1, 0)])))
    with counting(vlm, 0) as calls:
        captioner.captions(STRONG, until=lambda _: True)
    assert [positions for _, positions in calls].count(1) == 1


def test_batches_are_halved_when_memory_fails(
    vlm: ns.VLM, pictures: list[Image.Image], plainly: list[list[Caption]], monkeypatch: pytest.MonkeyPatch
):
    captioner = Captioner(vlm, pictures, decoding=SHORT, engine=Engine(remember=0))
    sizes: list[int] = []
    read = Pass.read

    def scarce(self: Pass):
        sizes.append(len(self.jobs))
        if len(self.jobs) > 4:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return read(self)

    monkeypatch.setattr(Pass, "read", scarce)
    assert captioner.captions(STRONG) == plainly
    assert max(sizes) == 15
    sizes.clear()
    captioner.captions(STRONG)
    assert max(sizes) <= 4  # remembered

    monkeypatch.setattr(Pass, "read", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(NotEnoughMemory):
        captioner.captions(STRONG)
    monkeypatch.setattr(Pass, "read", lambda _: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        captioner.captions(STRONG)


def test_several_images_in_a_prompt(vlm: ns.VLM, pictures: list[Image.Image]):
    rows = [[pictures[0], pictures[1]], pictures[2], [pictures[2], pictures[0]]]
    captioner = Captioner(vlm, rows, decoding=SHORT)
    assert captioner.captions(STRONG) == generate_captions(vlm, rows, STRONG, decoding=SHORT)
    assert not any(captioner.plain.values())


def test_weights_that_are_kept_elsewhere_stay_there(make_vlm: Callable[..., ns.VLM], pictures: list[Image.Image]):
    from accelerate import cpu_offload

    vlm = make_vlm(0)
    cpu_offload(vlm.model, execution_device=torch.device("cpu"))
    captioner = Captioner(vlm, pictures[:1], decoding=SHORT)
    assert captioner.captions(STRONG) == generate_captions(vlm, pictures[:1], STRONG, decoding=SHORT)
    assert captioner.used[1] == Engine(low_rank=False, short_last=False)
    assert all(weight.device.type == "meta" for layer in vlm.structure.layers for weight in layer.parameters())


def test_settings_that_count_from_the_start_of_writing(vlm: ns.VLM, pictures: list[Image.Image]):
    decoding = replace(SHORT, generation={"repetition_penalty": 1.5})
    captioner = Captioner(vlm, pictures, decoding=decoding)
    assert captioner.captions(STRONG) == generate_captions(vlm, pictures, STRONG, decoding=decoding)
    assert not captioner.used[1].draft
    assert not captioner.used[1].compact


def test_a_pass_ends_behind_the_last_keys_and_values(vlm: ns.VLM):
    cache = EndingCache(vlm.model.config)
    plain = DynamicCache(config=vlm.model.config)
    cache.ends_at = 1
    ones = torch.ones(1, 2, 3, 4)
    plain.update(ones, 2 * ones, 0)
    cache.update(ones, 2 * ones, 0)
    with pytest.raises(Enough):
        cache.update(ones, 2 * ones, 1)
    assert cache.get_seq_length(1) == plain.get_seq_length(0) == 3


def test_drafts_are_as_long_as_they_pay():
    drafts = Drafts()
    assert drafts.length(10, 0.3) == 10  # nothing known yet
    drafts.note([10] * 20, [10] * 20)
    assert drafts.length(10, 0.3) == 10
    # Half of the rows go wrong at once, the others at token 2: tokens are right with 0.5, 0.5, 0.
    drafts = Drafts()
    drafts.note([0] * 10 + [2] * 10, [10] * 20)
    assert drafts.length(10, 0.3) == 2
    assert drafts.length(10, 0.6) == 0
    # A wrong first token that what follows makes up for: -0.1, then 0.3 for each of nine others.
    drafts.note([2] * 200, [10] * 200)
    assert drafts.length(10, 0.3) == 2


def test_buckets_of_rows():
    assert buckets([], 32) == []
    assert buckets([3, 3, 3], 32) == [[0, 1, 2]]
    # Apart, row 2 costs 2 * 33 and the others 31 * 34 = 1054; together 31 * 35 = 1085.
    assert buckets([1, 1, 30], 32) == [[0, 1, 2]]
    # Forty rows that are nearly done: 2 * 72 + 31 * 33 = 1167 against 31 * 73 = 2263.
    assert buckets([30] * 40 + [1], 32) == [[40], list(range(40))]

    def cost(groups: list[list[int]], known: list[int]) -> int:
        return sum((32 - min(known[row] for row in group)) * (len(group) + 32) for group in groups)

    rng = np.random.default_rng(0)
    for _ in range(20):
        known = rng.integers(1, 32, 9).tolist()
        found = buckets(known, 32)
        assert sorted(row for group in found for row in group) == list(range(9))
        order = sorted(range(9), key=lambda row: known[row])
        every = [
            [order[a:b] for a, b in zip((0, *cuts), (*cuts, 9), strict=True)]
            for bits in range(2**8)
            for cuts in [tuple(n + 1 for n in range(8) if bits >> n & 1)]
        ]
        assert cost(found, known) == min(cost(groups, known) for groups in every)


def test_memory():
    # (2 * 10 + 5) numbers of 4 bytes at 3 positions, and 7 logits at 2 positions in two types.
    assert row_bytes(cached=10, width=5, positions=3, vocabulary=7, predictions=2, itemsize=4) == 300 + 112
    assert rows_that_fit(2**60, torch.device("cpu")) == 1
    assert rows_that_fit(2**20, torch.device("cpu")) <= free_bytes(torch.device("cpu")) // 2**20
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("shapes differ"))
    assert not out_of_memory(ValueError("can't allocate memory"))


def test_engines():
    weaker = list(Engine().weaker())
    assert weaker[0] == Engine()
    assert len(set(weaker)) == len(weaker) > 6
    assert weaker[-1] == replace(Engine.off(), inert=True, remember=2**16)
    assert Engine(draft=False) & Engine(prefix=False) == Engine(draft=False, prefix=False)
    assert not any(getattr(Engine.off(), name) for name in SWITCHES)
    with pytest.raises(InvalidOption, match="remember=-1 must be at least 0"):
        Engine(remember=-1)
