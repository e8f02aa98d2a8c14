"""What somebody does who follows a page and knows nothing else: real processors, tiny models, the command line.

Each test names its page, gives the commands and the Python that stand there, and looks for what the page promises. Only
names differ, and what makes it quick: a method of one pass, few neurons, few new tokens.
"""

import csv
import json
import shutil
from importlib.util import find_spec

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.cli import main
from neuronscope.regions import Detector
from neuronscope.studies.demo.scenes import scenes_of
from zoo import ZOO

#: Name in the zoo -> how its chat template writes turns, with its own placeholder.
CHATS = {
    "qwen2_5_vl": ("<|im_start|>{role}\n", "<|im_end|>\n"),
    "internvl": ("<|im_start|>{role}\n", "<|im_end|>\n"),
    "gemma3": ("<start_of_turn>{role}\n", "<end_of_turn>\n"),
    "llava_onevision": ("<|im_start|>{role} ", "<|im_end|>"),
    "smolvlm": ("{role}: ", "<end_of_utterance>\n"),
}
THOUGHT = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"


def template(begin: str, end: str, placeholder: str, answer: str = "") -> str:
    role = begin.split("{role}")
    turn = f"{role[0]}{{{{ message['role'] }}}}{role[1]}"
    part = f"{{% if part['type'] == 'image' %}}{placeholder}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}"
    body = f"{{% for part in message['content'] %}}{part}{{% endfor %}}"
    opened = f"{role[0]}assistant{role[1]}{answer}"
    return (
        f"{{% for message in messages %}}{turn}{body}{end}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{opened}{{% endif %}}"
    )


def checkpoint(folder, name, answer=""):
    """A folder as the hub has it: weights, processor, chat template."""
    model, processor = ZOO[name].build()
    placeholder = ns.load((model, processor), check=False).placeholder
    model.save_pretrained(folder)
    processor.chat_template = template(*CHATS[name], placeholder, answer)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path):
    Image.effect_noise((72, 56), 60).convert("RGB").save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.fixture
def run(capsys):
    """A verb; what it says on stdout, which is JSON where that was asked for."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        said = capsys.readouterr()
        assert not stop.value.code, said.err
        return json.loads(said.out) if "--json" in words else said.out

    return call


QUICK = ("--method", "grad-x-activation", "--count", 8, "--no-test", "--model", "demo")


def test_a_photograph_of_ones_own_by_a_word(run, finder, tmp_path):
    """docs/howto/word.md: a photograph and a word, with a detector and a segmenter."""
    detector, segmenter = finder("owlvit"), finder("sam")
    loaded = Detector(detector)
    photo = tmp_path / "photo.png"

    def covers(sample):
        """Whether the tiny detector, which knows nothing, happens to take most of the bear."""
        (x, y, width, height), (left, top, wide, high) = (
            ns.find_regions(sample.load(), "bear", loaded).taken[0].box,
            sample.boxes[0],
        )
        across = min(x + width, left + wide) - max(x, left)
        down = min(y + height, top + high) - max(y, top)
        return min(across, down) > 0 and across * down > wide * high / 2

    next(filter(covers, scenes_of("bear", 12))).load().save(photo)
    out = tmp_path / "out"
    run("locate", photo, "bear", *QUICK, "--detector", detector, "--segmenter", segmenter, "--out", out)
    found = ns.find_regions(photo, "bear", detector, segmenter=segmenter)
    assert ns.Neurons.load(out / "neurons.json").provenance["edit"]["found_by"] == found.to_dict()
    assert found.sentence in (out / "summary.txt").read_text(encoding="utf-8")
    assert found.sample().concept == "bear"


@pytest.mark.parametrize("name", CHATS)
def test_a_question_to_a_chat_model(run, photo, tmp_path, name):
    """docs/faq.md, "Chat template", and docs/usage.md, "What a model is asked"."""
    if name == "smolvlm":
        pytest.importorskip("num2words")  # its processor needs it, as the extra "vision" says
    model = checkpoint(tmp_path / name, name)
    asked = ("--question", "What animal is this?", "--max-new-tokens", 2)
    told = run("caption", photo, *asked, "--model", model, "--json")
    begin = CHATS[name][0].format(role="assistant")
    assert "What animal is this?" in told["sent"]
    assert told["sent"].endswith(begin.rstrip() if not told["sent"].endswith(begin) else begin)
    assert told["captions"][0]["image"] == str(photo)
    vlm = ns.load(str(model))
    assert vlm.sent(ns.Decoding(question="What animal is this?")) == told["sent"]
    answer = vlm.ask(photo, "What animal is this?", decoding=ns.Decoding(max_new_tokens=2))
    assert answer.strip() == told["captions"][0]["caption"].strip()


@pytest.mark.parametrize("answer", [THOUGHT, "<think>\n"], ids=["switch", "begun"])
def test_an_instruct_model_that_thinks(run, photo, tmp_path, answer):
    """docs/usage.md: thinking is switched off where the template has a switch, and one that it begins is closed."""
    model = checkpoint(tmp_path / "thinks", "qwen2_5_vl", answer)
    told = run("caption", photo, "--question", "What is it?", "--max-new-tokens", 2, "--model", model, "--json")
    assert told["sent"].rstrip().endswith("</think>")


@pytest.mark.parametrize(("question", "prefix"), [("Какое это животное?", "Это"), ("这是什么动物", "这是")])
def test_a_question_in_another_language(run, photo, tmp_path, question, prefix):
    """docs/faq.md, "Chat template": `--question` asks, `--prefix` begins the answer."""
    model = checkpoint(tmp_path / "model", "internvl")
    asked = ("--question", question, "--prefix", prefix, "--max-new-tokens", 2)
    told = run("caption", photo, *asked, "--model", model, "--json")
    assert question in told["sent"]
    assert told["sent"].endswith(prefix)


@pytest.fixture(scope="module")
def bears(tmp_path_factory):
    """Photographs of a user's own, and where the bear is."""
    folder = tmp_path_factory.mktemp("photographs")
    rows = []
    for k, sample in enumerate(scenes_of("bear", 2, seed=3)):
        sample.load().save(folder / f"{k}.png")
        rows += [{"file": f"{k}.png", "species": "bear", "box": [float(side) for side in box]} for box in sample.boxes]
    return folder, rows


SMALL = ("--method", "grad-x-activation", "--count", 20, "--photographs", 2, "--model", "demo")


def copied(folder, place):
    """Pictures without what another walk has written beside them."""
    place.mkdir()
    for picture in folder.glob("*.png"):
        shutil.copy(picture, place)
    return place


def test_a_table_of_boxes(run, bears, tmp_path):
    """docs/howto/own-images.md, "Any other form", and docs/howto/concept.md."""
    folder, rows = copied(bears[0], tmp_path / "photos"), bears[1]
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "concept", "x", "y", "width", "height"])
        writer.writerows([row["file"], row["species"], *row["box"]] for row in rows)
    run("concept", folder / "boxes.csv", "bear", *SMALL, "--out", tmp_path / "bears")
    assert len(ns.Neurons.load(tmp_path / "bears" / "neurons.json")) == 20
    summary = (tmp_path / "bears" / "summary.txt").read_text(encoding="utf-8")
    for row in rows:  # which photographs were used, and what the set from the others recovers on each
        assert row["file"] in summary
    assert "recover" in summary
    assert "random" in summary


def test_a_data_set_of_the_hubs_form(run, bears, tmp_path):
    """docs/howto/own-images.md: an image folder with metadata.jsonl, as `datasets` reads it."""
    folder, rows = copied(bears[0], tmp_path / "photos"), bears[1]
    lines = [
        {"file_name": row["file"], "objects": {"bbox": [row["box"]], "category": [row["species"]]}} for row in rows
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    run("concept", folder, "bear", *SMALL, "--no-test", "--out", tmp_path / "bears")
    assert len(ns.Neurons.load(tmp_path / "bears" / "neurons.json")) == 20


def test_a_data_frame(bears, demo):
    """docs/howto/own-images.md: the frame of the page; and docs/howto/tables.md: results as frames."""
    pd = pytest.importorskip("pandas")
    folder, rows = bears
    corners = [(x, y, x + width, y + height) for x, y, width, height in (row["box"] for row in rows)]
    table = pd.DataFrame([{"file": r["file"], "species": "bear"} for r in rows])
    table[["x1", "y1", "x2", "y2"]] = corners
    sample = next(ns.annotated(table, images=folder, columns={"concept": "species"}).samples("bear"))
    assert list(map(float, sample.boxes[0])) in [row["box"] for row in rows]
    found = ns.method("grad-x-activation", count=5).locate(demo, ns.counterfactual(sample))
    frame = found.neurons.to_dataframe()
    assert list(frame["neuron"]) == found.neurons.addresses
    assert frame.attrs["method"] == "grad-x-activation"


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs the extra bits")
def test_a_model_in_four_bits(run, bears, tmp_path):
    """docs/faq.md, "Out of memory"."""
    folder, rows = bears
    model = checkpoint(tmp_path / "model", "qwen2_5_vl")
    told = run("check", model, "--estimate", "--dtype", "4bit", "--card", 24, "--json")
    assert all(row["fits"] for row in told["verbs"])
    box = ",".join(f"{side:g}" for side in rows[0]["box"])
    run("locate", folder / rows[0]["file"], "bear", "--box", box, *QUICK, "--dtype", "4bit", "--out", tmp_path / "out")
    located = ns.Neurons.load(tmp_path / "out" / "neurons.json")
    assert len(located) == 8


@pytest.fixture(scope="module")
def bear(bears, tmp_path_factory):
    """The folder of `locate` on the first of them, which walks go on from."""
    folder, rows = bears
    box, out = ",".join(f"{side:g}" for side in rows[0]["box"]), tmp_path_factory.mktemp("located") / "bear"
    asked = ("--box", box, "--method", "grad-x-activation", "--count", 3, "--no-test", "--model", "demo", "--out", out)
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in ("locate", folder / rows[0]["file"], "bear", *asked)])
    assert not stop.value.code
    return out


def test_a_page_of_a_neuron(run, bear, bears, tmp_path):
    """docs/howto/neuron-pages.md: an index with the neurons of a report, one more neuron, and the report's links."""
    folder, out, index = bears[0], bear, tmp_path / "photo-index"
    told = run("index", folder, "--sets", out / "neurons.json", "--pages", 1, "--out", index, "--json")
    located = ns.Neurons.load(out / "neurons.json").addresses
    assert told["pages"][:3] == located
    run("neuron", "L3.U17", "--index", index)
    assert "A random neuron of its layer" in (index / "neurons" / "L3.U17.html").read_text(encoding="utf-8")
    run("report", out, "--out", tmp_path / "bear.html", "--index", index)
    page = (tmp_path / "bear.html").read_text(encoding="utf-8")
    assert all(f'href="photo-index/neurons/{address}.html"' in page for address in located)


def test_a_report_to_share(run, bear, tmp_path):
    """docs/howto/share.md."""
    out = bear
    run("report", out, "--out", tmp_path / "bear.html")
    page = (tmp_path / "bear.html").read_text(encoding="utf-8")
    assert "3 neurons for “bear”, not tested" in page
    assert "The removal and the word" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    neurons = ns.Neurons.load(out / "neurons.json")
    assert (neurons.concept, neurons.method, neurons.site) == ("bear", "grad-x-activation", "neuron")
    assert neurons.model["fingerprint"] in page
