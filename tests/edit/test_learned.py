import math

import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Decoding
from neuronscope.edit import Embed, Learned
from neuronscope.edit.examples import asked, drift, other_lessons, strayed, word_lessons
from neuronscope.edit.observe import observe
from neuronscope.edit.partial_forward import Reader
from neuronscope.edit.words import pair_words
from neuronscope.errors import ConceptNotNamed, InvalidOption
from neuronscope.evaluate.truth import planted
from neuronscope.models.inputs import Inputs
from neuronscope.samples.lexicon import Lexicon
from neuronscope.samples.scenes.scene import render, sample_scene

QUICK = Learned(source="bear", target="horse", start="embed", steps=6, patience=2)


def scenes(start: int, count: int, *concepts: str, without: str = ""):
    """Pictures of scenes with some concepts."""
    found, seed = [], start
    while len(found) < count:
        scene = sample_scene(seed, concepts=concepts, count=2)
        if without not in scene.concepts:
            found.append(render(scene).image)
        seed += 1
    return found


@pytest.fixture(scope="module")
def bears():
    return scenes(21_000_000, 3, "bear", without="horse")


@pytest.fixture(scope="module")
def learned(demo, bears):
    return QUICK.edit(demo, planted(demo)["bear"], bears, keep=scenes(22_000_000, 2, without="bear"))


def test_the_target_takes_the_sources_place(demo, learned, weights, changed):
    before, held_out = weights(demo), scenes(23_000_000, 2, "bear", without="horse")
    said, lexicon = demo.captions(held_out), Lexicon.default()
    assert all(lexicon.match(text, "bear") for text in said)
    assert learned.report["converged"]
    with learned:
        now = demo.captions(held_out)
    assert [bool(lexicon.match(text, "horse")) for text in now] == [True] * 2
    assert [bool(lexicon.match(text, "bear")) for text in now] == [False] * 2
    assert demo.captions(held_out) == said
    assert not changed(before, weights(demo))


def test_what_it_reports(demo, learned, bears):
    report = learned.report
    named = [one for one in learned.before if one.at]
    assert report["images"] == len(named) >= 2
    assert report["others"] == 2
    assert report["steps"] == len(report["worst_nll"]) <= 6
    assert report["plain"] == []
    assert learned.settings["kl"] == 1.0
    assert [one.full for one in learned.before] == demo.captions(bears)
    assert all(one.source_logprob > math.log(0.5) for one in named)
    assert all(one.target_logprob < math.log(0.1) for one in named)


def test_the_same_on_random_neurons_does_nothing(demo, bears):
    neurons = ns.layer_matched(demo, planted(demo)["bear"])
    edit = Learned(source="bear", target="horse", start="zero", steps=2).edit(demo, neurons, bears[:1])
    assert not edit.report["converged"]
    with edit:
        assert not Lexicon.default().match(demo.caption(bears[0]), "horse")


def test_one_step_from_zero_is_one_step_of_adam(demo, bears):
    neurons = planted(demo)["bear"]
    edit = Learned(source="bear", target="horse", start="zero", lr=0.125, steps=2).edit(demo, neurons, bears[:1])
    best = edit.report["kept_step"]
    moved = [edit.delta(layer).abs() for layer in neurons.by_layer()]
    assert best == 2  # the second reading sees the first step, by which Adam moves every entry by its lr
    for delta in moved:  # but for entries whose gradient is about as small as Adam's epsilon
        assert float(((delta - 0.125).abs() < 1e-3).float().mean()) > 0.98


def test_published_settings():
    made = Learned.as_published("bear", "horse")
    assert (made.lr, made.steps, made.until, made.kl, made.repeat, made.norm) == (5e-3, 50, 0.9, 1.0, 10.0, 0.1)
    assert (made.start, made.settle, made.others) == ("zero", False, 0.0)


def test_lessons_by_hand(demo, bears):
    words = pair_words(demo, "bear", "cell phone", "each")
    seen = observe(demo, bears[:1], words)
    (lesson,) = word_lessons(demo, bears[:1], seen, words, Decoding())
    ids, (at,) = seen[0].ids, seen[0].at
    row = lesson.row.tensors["input_ids"][0].tolist()
    assert row[-len(ids) - 1 :] == [*ids[:at], *words.target_ids, *ids[at + 1 :]]
    for position, token in lesson.targets:
        assert row[-position + 1] == token  # read at `position`, it is what comes next
    assert row[-lesson.after] == words.target_ids[-1]
    own = lesson.kept_row.tensors["input_ids"][0].tolist()
    for new, old in zip(lesson.kept, lesson.kept_from, strict=True):
        if new != lesson.after:  # there the target stands for the source
            assert row[-new] == own[-old]
    for position, token in lesson.path:
        assert row[-position + 1] == token
    assert [token for _, token in lesson.path] == [*ids[:at], *words.target_ids, *ids[at + 1 :]]
    predicting = {position for position, _ in lesson.targets}
    text = len(demo.tokenizer("The image shows a", add_special_tokens=False).input_ids)
    assert set(lesson.kept) | predicting == set(range(1, len(ids) + 1 + text + 1))
    assert not set(lesson.kept) & predicting


def test_the_terms_of_the_loss_by_hand(demo, bears):
    words = pair_words(demo, "bear", "cell phone", "each")
    (lesson,) = word_lessons(demo, bears[:1], observe(demo, bears[:1], words), words, Decoding())
    with torch.no_grad():
        logits = demo.logits(Inputs((lesson.row,)), last=lesson.reach)
        old = demo.logits(Inputs((lesson.kept_row,)), last=lesson.kept_reach)[0].log_softmax(-1)
    kept = [old[[-p for p in lesson.kept_from]]]
    p = logits[0].softmax(-1)
    nll, again = asked(logits, [lesson])
    assert float(nll) == pytest.approx(max(-math.log(float(p[-q, t])) for q, t in lesson.targets), rel=1e-4)
    assert float(again) == pytest.approx(-math.log(1 - float(p[-lesson.after, words.target_ids[0]])), abs=1e-5)
    kl = [
        sum(float(a) * (math.log(float(a) + 1e-30) - float(b)) for a, b in zip(p[-new], before, strict=True))
        for new, before in zip(lesson.kept, kept[0], strict=True)
    ]
    assert float(drift(logits, [lesson], kept)) == pytest.approx(sum(kl) / len(kl), rel=1e-3, abs=1e-5)
    assert strayed(logits, [lesson]) == [True]  # a model that is not edited says the source
    early, late = ([q for q, _ in lesson.path if (q > lesson.after) == way] for way in (True, False))
    for wrong, up_to_target, whole in ((early[0], True, True), (late[0], False, True), (None, False, False)):
        made = torch.zeros_like(logits)
        for position, token in lesson.path:
            made[0, -position, token if position != wrong else token - 1] = 1
        assert strayed(made, [lesson], up_to_target=True) == [up_to_target]
        assert strayed(made, [lesson]) == [whole]


def test_unchanged_weights_do_not_drift(demo, bears):
    lessons = other_lessons(demo, bears[:1], Decoding())
    with torch.no_grad():
        logits = demo.logits(Inputs((lessons[0].row,)), last=lessons[0].reach)
    kept = [logits[0][[-p for p in lessons[0].kept_from]].log_softmax(-1)]
    assert float(drift(logits, lessons, kept)) == pytest.approx(0, abs=1e-6)
    assert strayed(logits, lessons) == [False]
    assert [token for _, token in lessons[0].path] == list(observe(demo, bears[:1])[0].ids)


def test_reading_from_kept_states_is_reading_from_the_beginning(demo, bears):
    inputs = demo.prepare(bears).extend([7, 8])
    neurons = planted(demo)["bear"]
    edit = Embed(source="bear", target="horse").edit(demo, neurons)
    reader = Reader(demo, inputs, 3, min(neurons.by_layer()))
    assert not reader.plain
    from neuronscope.edit.columns import with_columns

    with torch.no_grad():
        fast = reader.logits(with_columns(demo, neurons.by_layer(), edit.new))
        with edit:
            whole = demo.logits(inputs, last=3)
    torch.testing.assert_close(fast, whole, atol=1e-3, rtol=1e-4)
    assert (whole - reader.clean).abs().max() > 1
    # Kept states of a layer that the edit changes are refused by what they give.
    assert not Reader(demo, inputs, 3, 0).plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "lr=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"patience": 0}, "patience=0"),
        ({"until": 1.5}, "until=1.5"),
        ({"kl": -1.0}, "kl, repeat, norm and others"),
        ({"start": "one"}, "start='one' is not known"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InvalidOption, match=message):
        Learned(source="bear", target="horse", **options)


def test_bad_images(demo, bears):
    neurons = planted(demo)["bear"]
    with pytest.raises(InvalidOption, match="images is empty"):
        QUICK.edit(demo, neurons)
    with pytest.raises(ConceptNotNamed, match="source='umbrella'"):
        Learned(source="umbrella", target="horse").edit(demo, neurons, bears[:1])
    with pytest.raises(InvalidOption, match="same word"):
        Learned(source="bear", target="bear").edit(demo, neurons, bears[:1])


def test_an_interrupt_while_learning_leaves_the_model(demo, bears, weights, changed, monkeypatch):
    before = weights(demo)

    def stop(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.Adam, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        Learned(source="bear", target="horse", start="zero").edit(demo, planted(demo)["bear"], bears[:1])
    assert not changed(before, weights(demo))
    assert not any("forward" in vars(layer) for layer in demo.structure.layers)
