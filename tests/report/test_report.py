"""The page of a located concept: its numbers, its evidence on disk, and texts that try to run something."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import RunMismatch
from neuronscope.locate.thresholds import Budget, Cut, TargetDecoy
from neuronscope.report import Curve, Evidence, Origin, Test, charts, gather, locate_watched, write_located
from neuronscope.report.data_uri import heat, mask_picture, photo
from neuronscope.report.located import section
from neuronscope.report.marked import Piece, marked
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.view import heatmap
from report_samples import HOSTILE, evidence, save_result


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside of style and script."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# ---- threshold curves


def test_curve_counts_by_hand():
    target = np.array([0.0, 1.0, 2.0, 3.0])
    decoys = np.array([[0.0, 0.0, 0.0, 1.5], [0.0, 2.5, 0.0, 0.5]])
    curve = Curve.of(target, decoys, Cut(1.0, "by hand"), q=0.5)
    assert curve.thresholds == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    assert curve.accepted == (3, 3, 2, 2, 1, 1, 0)
    assert curve.decoys == (1.5, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0)
    assert curve.share == (2.5 / 3, 2 / 3, 1.0, 0.75, 1.0, 1.0, 1.0)
    assert Curve.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve


def test_curve_agrees_with_the_rule_that_chose():
    rng = np.random.default_rng(0)
    target, decoys = np.concatenate([rng.random(3000), 2 + rng.random(40)]), rng.random((5, 3040))
    cut = TargetDecoy(0.1).choose(target, decoys)
    curve = Curve.of(target, decoys, cut, 0.1)
    assert len(curve.thresholds) < 1000
    at = curve.thresholds.index(cut.threshold)
    assert curve.share[at] == pytest.approx(cut.achieved)
    for threshold, accepted, wrong in zip(curve.thresholds, curve.accepted, curve.decoys, strict=True):
        assert accepted == (target > threshold).sum()
        assert wrong == pytest.approx((decoys > threshold).sum() / 5)


def test_curve_without_controls_and_without_a_threshold():
    curve = Curve.of(np.array([1.0, 2.0]), np.zeros((0, 2)), Budget(1).choose(np.array([1.0, 2.0]), np.zeros((0, 2))))
    assert (curve.decoys, curve.share, curve.chosen) == ((), (), 1.0)
    nothing = Curve.of(np.array([1.0]), np.array([[9.0]]), Cut(np.inf, "none"))
    assert nothing.chosen is None
    plot = charts.thresholds(nothing)
    assert [panel.point for panel in plot.panels] == [None, None]


# ---- plots


def test_bars_are_as_high_as_counts():
    neurons = ns.Neurons.of([(0, 1), (2, 0), (2, 1), (2, 2), (2, 3)])
    plot = charts.layers(neurons, (10, 10, 20, 10))
    heights = [bar.height for bar in plot.bars]
    assert heights[0] * 4 == pytest.approx(heights[2], abs=0.1)
    assert heights[1] == heights[3] == 0
    assert "layer 2: 4 neurons, 2.0 by uniform choice" in plot.bars[2].title
    assert charts.layers(ns.Neurons.of([]), (5, 5)).bars[0].height == 0


def test_the_chosen_point_lies_on_both_lines():
    plot = charts.thresholds(evidence().curves["activation"])
    counts, share = plot.panels
    assert counts.point[0] == share.point[0] == pytest.approx(52 + (640 - 52 - 12) * 0.5 / 3, abs=0.01)
    ticks = {tick.text: tick.at for tick in counts.y}
    assert ticks["0"] == counts.bottom
    assert counts.top < counts.point[1] < ticks["1"]
    assert share.point[1] == pytest.approx(share.bottom - (1 / 3) * (share.bottom - share.top), abs=0.01)
    assert share.rule == pytest.approx(share.bottom - 0.25 * (share.bottom - share.top), abs=0.01)


# ---- pictures and captions


def pixels(uri: str) -> Image.Image:
    import base64
    import io

    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_heat_is_more_opaque_and_lighter_where_larger():
    values = np.array([[0.0, 1.0], [0.5, np.nan]])
    found = np.asarray(pixels(heat(values)).convert("RGBA")).astype(int)
    alpha = found[..., 3]
    assert alpha[0, 0] < alpha[1, 0] < alpha[0, 1]
    assert alpha[1, 1] == 0
    lightness = found[..., :3].sum(-1)
    assert lightness[0, 0] < lightness[1, 0] < lightness[0, 1]
    assert np.asarray(pixels(heat(np.full((2, 2), 3.0))))[..., 3].max() < 64
    assert np.asarray(pixels(heat(np.full((2, 2), np.nan))))[..., 3].max() == 0


def test_pictures_are_made_small():
    assert max(pixels(photo(Image.new("RGB", (2000, 1000)))).size) == 512
    assert pixels(photo(Image.new("RGB", (20, 10)))).size == (20, 10)
    mask = np.zeros((10, 20), bool)
    mask[:, :5] = True
    assert np.array_equal(np.asarray(pixels(mask_picture(mask))).astype(bool), mask)


@pytest.mark.parametrize("text", ["a bear and two bears", "no animal", "", "bear", "bedroom with a BEAR", *HOSTILE])
def test_marked_pieces_are_the_caption(text):
    pieces = marked(text, "bear")
    assert "".join(piece.text for piece in pieces) == text
    assert [p.text.lower().rstrip("s") for p in pieces if p.concept] == ["bear"] * len(re.findall("bear", text.lower()))


def test_marked_by_hand():
    assert marked("a bear, bears", "bear") == [
        Piece("a ", False),
        Piece("bear", True),
        Piece(", ", False),
        Piece("bears", True),
    ]


# ---- what the model is asked


@pytest.fixture(scope="module")
def pair():
    return ns.counterfactual(scenes_of("bear", 2)[1])


@pytest.fixture(scope="module")
def located(demo, pair):
    return locate_watched(ns.TwoStage(), demo, pair)


@pytest.fixture(scope="module")
def gathered(demo, pair, located) -> Evidence:
    found, curves = located
    return gather(demo, pair, found, curves, test=Test(6.0, draws=2, seed=3), origin=Origin("a.png"))


def test_the_product_of_both_stages_has_no_curves(demo, pair, located):
    found, curves = located
    assert not curves
    assert found.neurons == ns.TwoStage().locate(demo, pair, validity=found.validity).neurons


def test_watching_changes_nothing(demo, pair, located):
    filters = ns.TwoStage(activation=ns.TargetDecoy())
    found, curves = locate_watched(filters, demo, pair)
    plain = filters.locate(demo, pair, validity=found.validity)
    assert found.neurons == plain.neurons
    json.dumps(found.neurons.to_dict(), allow_nan=False)
    for name, cut in plain.neurons.provenance["thresholds"].items():
        at = curves[name].thresholds.index(curves[name].chosen)
        assert curves[name].share[at] == pytest.approx(min(1, cut["achieved"]))
    kept = curves["gradient"].accepted[curves["gradient"].thresholds.index(curves["gradient"].chosen)]
    assert kept == len(plain.neurons)


def test_rankings_have_no_curves(demo, pair, located):
    method = ns.method("activation-difference", count=2)
    found, curves = locate_watched(method, demo, pair)
    assert (len(found.neurons), curves) == (2, {})


def test_log_odds_of_one_neuron_alone(demo, pair, located, gathered):
    found = located[0]
    word = ns.locate.target.concept_word(found.validity)
    inputs = word.inputs(demo, pair.original, ns.Decoding())
    place, token = word.entries[0]

    def odds(*changes):
        with torch.no_grad(), demo.intervene(*changes):
            p = demo.logits(inputs, last=place)[0, -place].double().softmax(-1)[token]
        return float(torch.log(p / (1 - p))), float(p)

    untouched = ns.Scale(found.neurons[:1], factor=1.0)
    before, p = odds(untouched)
    for k in (0, len(found.neurons) - 1):
        assert gathered.units[k].alone == pytest.approx(odds(ns.Zero(found.neurons[k : k + 1]))[0] - before, abs=1e-3)
    assert gathered.word.before == pytest.approx(p, abs=1e-6)
    assert gathered.word.zeroed == pytest.approx(odds(ns.Zero(found.neurons))[1], abs=1e-6)
    assert gathered.word.zeroed < 0.5 < gathered.word.control


def test_captions_are_those_of_the_interventions(demo, pair, located, gathered):
    neurons = located[0].neurons
    after = demo.captions([pair.original], ns.Noise(neurons, level=6.0, draws=2, seed=3))[0]
    assert [f"The image shows a {text}" for text in gathered.texts("noise")] == after
    assert [s.condition for s in gathered.spoken] == [
        *("original", "edited", "noise", "random noise", "patch", "random patch", "zero", "random zero")
    ]
    patched = demo.captions([pair.original], ns.Patch.take(demo, neurons, pair.edited))[0]
    assert [f"The image shows a {text}" for text in gathered.texts("patch")] == [patched]
    assert gathered.exchanged["located"] > 0.1 > abs(gathered.exchanged["random"])
    assert gathered.texts("mean") == ()


def test_maps_and_peaks_are_those_of_single_neurons(demo, pair, located, gathered):
    neurons = located[0].neurons
    full = heatmap(demo, pair.original, neurons[:1]).values
    coarse = gathered.maps[0]
    factor = full.shape[0] / coarse.shape[0]
    for row, column in ((0, 0), (20, 11), (47, 30)):
        y, x = int((row + 0.5) * factor), int((column + 0.5) * factor)
        assert coarse[row, column] == pytest.approx(full[y, x], rel=1e-5)
    unit = gathered.units[0]
    assert unit.token == neurons.scores["attribution_patch"][0]
    assert unit.cell == divmod(unit.token, 8)
    assert unit.box == demo.prepare([pair.original]).images[0].footprint(unit.token)


def test_without_a_test_nothing_is_claimed(demo, pair, located, tmp_path):
    found, curves = located
    made = gather(demo, pair, found, curves, test=None)
    assert made.word is None
    assert {unit.alone for unit in made.units} == {None}
    page = write_located(made, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "were not tested" in page
    assert "log-odds" not in page.partition("<main")[2].partition("<script")[0]


def test_an_empty_set_has_a_page(demo, pair, located, tmp_path):
    found, curves = located
    nothing = dataclasses.replace(found, neurons=found.neurons[:0])
    made = gather(demo, pair, nothing, curves, test=Test())
    assert (made.units, len(made.maps), made.word) == ((), 0, None)
    assert "No neuron passed" in write_located(made, tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_layer_too_small_for_a_control_is_said(vlm, picture):
    from neuronscope.caption import Caption
    from neuronscope.locate import Located
    from neuronscope.locate.scores import Layout
    from neuronscope.locate.validity import Validity
    from neuronscope.samples.lexicon import Match

    sample = ns.Sample(picture, "bear", boxes=[(4, 4, 20, 20)])
    caption = Caption("brown bear", "The image shows a brown bear", tuple(vlm.tokenizer("brown bear").input_ids[1:]))
    validity = Validity(caption, Caption("grass", "The image shows a grass", ()), Match("bear", 6, 10, "bear"), (1,))
    neurons = dataclasses.replace(ns.Neurons.of((1, unit) for unit in range(40)), concept="bear")
    found = Located(neurons, ns.locate.located.Scores(Layout(vlm.widths), {}), validity, "activation")
    made = gather(vlm, ns.counterfactual(sample), found, {}, test=Test())
    assert made.word.control is None
    assert any("no random control: layer 1 has only 8 neurons" in note for note in made.notes)
    assert [s.condition for s in made.spoken] == ["original", "edited", "patch", "zero"]


# ---- on disk


def test_evidence_comes_back(tmp_path):
    made = save_result(tmp_path / "result")
    back = Evidence.load(tmp_path / "result")
    for item in dataclasses.fields(Evidence):
        here, there = getattr(made, item.name), getattr(back, item.name)
        same = np.array_equal(here, there) if item.name in ("maps", "mask", "original", "edited") else here == there
        assert same, item.name


def rewrite(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


DAMAGE = {
    "no evidence": (lambda f: (f / "evidence.json").unlink(), "lacks evidence.json"),
    "no picture": (lambda f: (f / "original.png").unlink(), "original.png"),
    "no maps": (lambda f: (f / "maps.npz").unlink(), "lacks maps.npz"),
    "not JSON": (lambda f: (f / "evidence.json").write_text("{"), "cannot be read"),
    "a list": (lambda f: (f / "evidence.json").write_text("[]"), "cannot be read"),
    "another schema": (lambda f: rewrite(f / "evidence.json", schema="x/9"), "x/9"),
    "another result": (lambda f: rewrite(f / "evidence.json", neurons=["text.0.0"]), "another result"),
    "fewer neurons": (lambda f: rewrite(f / "evidence.json", units=[]), "shape (3, 4, 6) for 0 neurons"),
    "a field less": (lambda f: rewrite(f / "evidence.json", widths=None), "cannot be read"),
    "maps cut short": (lambda f: (f / "maps.npz").write_bytes((f / "maps.npz").read_bytes()[:50]), "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_evidence_is_refused(tmp_path, name):
    save_result(tmp_path / "result")
    damage, message = DAMAGE[name]
    damage(tmp_path / "result" / "evidence")
    with pytest.raises(RunMismatch, match=re.escape(message)):
        Evidence.load(tmp_path / "result")


# ---- the page


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    return write_located(evidence(), path).read_text(encoding="utf-8")


def test_hostile_texts_stay_texts(html):
    page = Page(html)
    assert len(page.named("script")) == 1
    assert page.named("script")[0] == {}
    assert all(image["src"].startswith("data:image/") for image in page.named("img"))
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    for text in HOSTILE:
        assert text in page.text
    assert "1337" not in page.text


def test_the_page_needs_no_network(html):
    page = Page(html)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert not re.findall(r"url\((?!data:)", html)
    assert not page.named("link")
    (policy,) = [m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    import base64
    import hashlib

    script = html.partition("<script>")[2].partition("</script>")[0]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy


def test_the_page_says_everything(html):
    made = evidence()
    text = " ".join(Page(html).text.split())
    for words in ("-2.500", "row 0, column 5", "image token 2", made.command, "0123456789abcdef", "mask"):
        assert words in text, words
    assert "1 of 3 draws name bear" in text
    assert "3 of 3 draws name bear" in text
    assert "is 0.90; with all located neurons at zero 0.10; with as many random neurons" in text
    assert html.count("<mark>bear</mark>") == 1 + 2 + 1 + 1 + 1  # three draws with the same caption are one line
    assert html.count('class="heat pic-result"') == 3


def test_pictures_have_descriptions(html):
    page = Page(html)
    assert all("alt" in image for image in page.named("img"))
    for svg in page.named("svg"):
        assert svg["role"] == "img"
        assert svg["aria-label"]
    assert page.elements[0] == ("html", {"lang": "en"})


def test_peaks_at_the_border_stay_inside():
    made = evidence()
    units = (dataclasses.replace(made.units[0], box=(-10.0, 28.0, 20.0, 20.0)), *made.units[1:])
    peak = section(dataclasses.replace(made, units=units), "x").rows[0].peak
    assert peak == pytest.approx((0.0, 100 * 28 / 32, 100 * 10 / 48, 100 * 4 / 32))


# ---- notebooks


def test_results_show_themselves_in_notebooks(demo, pair, located):
    found = located[0]
    html = found._repr_html_()
    assert found.validity.edited.full in html
    assert f"{len(found.neurons)} neurons of “bear” by two-stage" in html
    assert "data:image/png;base64," in heatmap(demo, pair.original, found.neurons)._repr_html_()


def test_notebook_tables_escape_and_end():
    many = ns.Neurons(tuple(ns.Neuron(0, k) for k in range(25)), {"<b>": (1.0,) * 25}, concept=HOSTILE[0])
    html = many._repr_html_()
    assert not Page(html).named("script")
    assert "&lt;b&gt;" in html
    assert "and 5 more" in html
    assert html.count("<tr>") == 21
    assert "more" not in ns.Neurons.of([(1, 2)])._repr_html_()
