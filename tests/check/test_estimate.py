"""What the config says a model needs, beside what the model then has."""

import json
import time
from collections import Counter
from itertools import islice

import pytest
import torch
from PIL import Image

import neuronscope as ns
from data_forms import coco, of_scenes
from hallucinations import write_folder
from neuronscope.check.estimate import CARDS, PART, WORK, CostEstimate, card, kept_bytes, measured
from neuronscope.check.shape import shape_of
from neuronscope.cli import main
from neuronscope.cli.main import app
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.studies.demo.scenes import scene_stream
from neuronscope.studies.index.settings import IndexPlan
from zoo import ZOO

FAMILIES = ["llava", "gemma3", "qwen2_5_vl", "internvl", "idefics3", "mllama", "glm4v", "blip"]


@pytest.fixture
def cli(capsys):
    """Runs a verb; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(one) for one in arguments])
        out = capsys.readouterr()
        return stop.value.code or 0, out.out, out.err

    return run


@pytest.mark.parametrize("name", FAMILIES)
def test_config_alone_against_the_model(name, tmp_path):
    """Bytes of weights are equal; what the gradient keeps lies within a factor of two."""
    model, processor = ZOO[name].build()
    model.config.save_pretrained(tmp_path)
    shape = shape_of(tmp_path)
    vlm = ns.load((model, processor))
    inputs = vlm.prepare([Image.new("RGB", (64, 48))])
    tensors = [*model.parameters(), *model.buffers()]
    assert shape.weights("float32") == sum(one.nbytes for one in tensors)
    positions = inputs.rows[0].length
    assert 0.5 < shape.saved(positions, 4, eager=False) / kept_bytes(vlm, inputs) < 2
    assert shape.neurons == sum(vlm.widths)


def test_the_processor_says_how_many_tokens_a_picture_has(tmp_path):
    model, processor = ZOO["qwen2_5_vl"].build()
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    vlm = ns.load((model, processor))
    counts = set()
    for size in ((64, 48), (96, 96), (32, 64)):
        inputs = vlm.prepare([Image.new("RGB", size)])
        shape = shape_of(tmp_path, size)
        assert (shape.image_tokens, shape.positions) == (inputs.images[0].count, inputs.rows[0].length)
        counts.add(shape.image_tokens)
    assert len(counts) > 1


def test_types_and_cards(demo):
    shape = shape_of("demo")
    own = sum(one.nbytes for one in [*demo.model.parameters(), *demo.model.buffers()])
    assert (shape.weights("float32"), shape.dtype) == (own, "float32")
    need = {dtype: CostEstimate(shape, dtype).weights for dtype in ("float32", "bfloat16", "8bit", "4bit")}
    assert need["float32"] > need["bfloat16"] > need["8bit"] > need["4bit"]
    rows = CostEstimate(shape, "bfloat16", card=card("rtx 4090")).rows()
    assert all(row.fits for row in rows)
    assert {row.verb for row in rows if row.seconds is None} == {"decode"}
    slow = CostEstimate(shape, "bfloat16", card=card("T4")).rows()
    assert all(a.seconds < b.seconds for a, b in zip(rows, slow, strict=True) if a.seconds)
    assert not any(row.fits for row in CostEstimate(shape, "float32", card=card("0.01")).rows())
    assert all(row.seconds is None for row in CostEstimate(shape, "float32", card=card("24")).rows())
    eager = CostEstimate(shape, "float32", attn="eager")
    assert eager.gradient() > CostEstimate(shape, "float32").gradient()


@pytest.mark.parametrize("name", ["rtx 9999", "-3", "0", "inf", "nan", ""])
def test_no_cards(name):
    with pytest.raises(InvalidOption, match="is no number of GiB and not one of t4"):
        card(name)
    assert all(one.gib > 0 for one in CARDS.values())


def test_measured(demo):
    made = measured(demo, CostEstimate(shape_of("demo"), "float32"), (128, 128))
    assert 0.5 < made.gradient() / made.unit.peak < 3  # a row's own activations are in the estimate
    locate = next(row for row in made.rows() if row.verb == "locate")
    assert locate.seconds == pytest.approx(115 * made.unit.prompt + 11 * made.unit.gradient + 12 * made.unit.caption)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four scenes of each of three concepts, as a COCO folder; and six scenes, of one of which too much is said."""
    root = tmp_path_factory.mktemp("estimate")
    drawn = [scene for name in ("bear", "bus", "cake") for scene in islice(scene_stream(name, 5), 4)]
    return {"DATA": coco(of_scenes(drawn), root / "data"), "WRONG": write_folder(root / "wrong")}


#: Row -> the verb with its default settings as far as they cost anything, and how often it does the row's work.
RUNS = {
    "caption": ("caption DATA/images/000.png", 1),
    "concept, a photograph": ("concept DATA bear -n 4 --out OUT", 4),
    "discover, a picture": ("discover DATA --out OUT", 12),
    "pictures, a picture": ("pictures L3.U7 DATA", 12),
    "index, a picture": ("index DATA --pages 0 --out OUT", 12),
    "edit, a picture": ("edit --images DATA --source bear --target dog --out OUT", 12),
    "edit --editor swap, a picture": ("edit --images DATA --source bear --target dog --editor swap --out OUT", 12),
    "repair, a hallucination at most": ("repair --images WRONG --out OUT", 1),
}


#: Those that take a second or two.
SHORT = ("caption", "pictures, a picture", "index, a picture")


@pytest.fixture
def done(cli, data, tmp_path, monkeypatch):
    """Runs a row's verb; rows that were read, by kind, and seconds: of the processor, here and in the estimate."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)

    def run(row):
        from neuronscope.cli import output

        asked, _ = RUNS[row]
        for name, place in {"OUT": tmp_path / "out", **data}.items():
            asked = asked.replace(name, str(place))
        seen, opened = Counter(), output.open_model

        def watch(layer, args, options):
            state = options.get("hidden_states", args[0] if args else None)
            kind = "words" if state.shape[1] == 1 else "captions" if options.get("past_key_values") else "prompts"
            kind = "gradients" if kind == "prompts" and state.requires_grad else kind
            seen[kind] += len(state)

        def open_model(loading):
            vlm = opened(loading)
            vlm.structure.layers[-1].register_forward_pre_hook(watch, with_kwargs=True)
            seen["begun"] = time.perf_counter()
            return vlm

        verb = asked.split()[0]
        monkeypatch.setattr(f"neuronscope.cli.{verb}.open_model", open_model)
        code, _, err = cli(*asked.split(), "--quiet", "--json")
        assert code == 0, err
        return seen, time.perf_counter() - seen.pop("begun")

    return run


@pytest.mark.parametrize("row", [pytest.param(row, marks=[] if row in SHORT else [pytest.mark.long]) for row in RUNS])
def test_the_work_of_a_verb(done, demo, row):
    """Rows are never more than the estimate says, and seconds within a factor of five of it."""
    seen, seconds = done(row)
    times, work = RUNS[row][1], WORK[row]
    own = 6 if "repair" in row else 0  # pictures, of which there is a row, too
    allowed = {name: times * getattr(work, name) for name in ("prompts", "gradients", "captions")}
    allowed["captions"] += own * WORK["repair, a picture"].captions
    assert seen["gradients"] <= allowed["gradients"]
    assert seen["captions"] <= allowed["captions"]
    assert seen["prompts"] + seen["gradients"] + seen["captions"] <= sum(allowed.values())
    if "at most" not in row and demo.device.type == "cpu":
        made = measured(demo, CostEstimate(shape_of("demo"), "float32"), (128, 128))
        told = times * next(one.seconds for one in made.rows() if one.verb == row)
        assert told / 5 < seconds < 5 * told


def test_every_verb_that_reads_a_model_has_a_row():
    """But those whose cost is that of others: the demo locates, `reproduce` has its own plan, others make pages."""
    verbs = {one.name for one in app.registered_commands}
    others = {"demo", "scenes", "check", "models", "report", "explore", "neuron", "reproduce"}
    assert {row.split()[0].rstrip(",") for row in WORK} == verbs - others


def test_what_an_index_keeps(demo):
    assert IndexPlan.part == PART
    rows = {row.verb: row.gib for row in CostEstimate(shape_of("demo"), "float32").rows()}
    assert rows["index, a picture"] > rows["pictures, a picture"]
    assert rows["edit, a picture"] > rows["edit --editor swap, a picture"]


def test_on_the_command_line(cli, tmp_path):
    model, _ = ZOO["llava"].build()
    model.config.save_pretrained(tmp_path)
    code, out, _ = cli("check", tmp_path, "--estimate", "--card", "24", "--dtype", "bfloat16", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["weights_bytes"] == sum(one.numel() * 2 for one in model.parameters()) + sum(
        one.nbytes for one in model.buffers()
    )
    assert [row["verb"] for row in document["verbs"]] == list(WORK)
    assert all(row["fits"] for row in document["verbs"])
    code, out, _ = cli("check", tmp_path, "--estimate", "--image-tokens", 400)
    assert code == 0
    assert "400 image tokens" in out
    assert "no seconds: give --measure" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--card", "a100"], "--card belongs to --estimate"),
        (["demo", "--measure"], "--measure belongs to --estimate"),
        (["demo", "--image-tokens", "0"], "--image-tokens belongs to --estimate"),
        (["demo", "--estimate", "--picture", "640"], "--picture '640' is no width x height"),
        (["demo", "--estimate", "--picture", "0x4"], "is no width x height"),
        (["demo", "--estimate", "--dtype", "int3"], "--dtype"),
        (["demo", "--estimate", "--card", "rtx9999"], "--card 'rtx9999' is no number of GiB"),
        (["nowhere/at all", "--estimate"], "no directory here"),
    ],
)
def test_refused_on_the_command_line(cli, arguments, told):
    code, _, err = cli("check", *arguments)
    assert code == 1
    assert told in err


def test_what_is_no_such_model(tmp_path):
    with pytest.raises(UnsupportedModel, match=r"has no config\.json"):
        shape_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    with pytest.raises(UnsupportedModel, match="without a vision tower"):
        shape_of(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UnsupportedModel, match="config cannot be read"):
        shape_of(tmp_path)


def test_nothing_is_allocated(monkeypatch):
    """Seven billion parameters from the published config: what the page on a 24 GB card says."""
    import transformers

    text = {"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
    text |= {"intermediate_size": 18944, "vocab_size": 152064}
    tower = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    config = transformers.AutoConfig.for_model(
        "qwen2_5_vl", text_config=text, vision_config=tower, tie_word_embeddings=False
    )
    monkeypatch.setattr("neuronscope.check.shape._config", lambda *_: (config, {}))
    shape = shape_of("seven")
    assert shape.parameters == 8_292_166_656
    assert shape.cached * 2 == 56 * 2**10
    assert shape.image_tokens is None
    with pytest.raises(InvalidOption, match="give --image-tokens"):
        CostEstimate(shape, "bfloat16")
    assert torch.empty(0).device.type == "cpu"
