"""Questions go through a checkpoint's own chat template, and the answer begins where the template puts it."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.loading.checks.common import noise_picture
from neuronscope.models.chat import has_chat
from neuronscope.models.families import FAMILIES
from zoo import ZOO

#: The manners of chat templates: turns in marks; names and colons; a mark around the question; a beginning of text;
#: a switch for thinking; a thought that is always begun; answers behind a space.
_PARTS = (
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
)
MARKS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n" + _PARTS + "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = (
    "{% for message in messages %}{{ message['role'].upper() }}: " + _PARTS + " {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
BRACKETS = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST] " + _PARTS + " [/INST]"
    "{% elif message['role'] == 'assistant' %}"
    + _PARTS
    + "{% else %}{{ raise_exception('no system turns') }}{% endif %}"
    "{% endfor %}"
)
THINKING = MARKS.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}",
)
ALWAYS = MARKS.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
BEGUN = "{{ bos_token }}" + MARKS

QUESTION = "What animal is this?"
ASKED = ns.Decoding("It is a", question=QUESTION)

_USER = "<|im_start|>user\n<image>What animal is this?<|im_end|>\n<|im_start|>assistant\n"
SENT = {
    MARKS: f"{_USER}It is a",
    NAMES: "USER: <image>What animal is this? ASSISTANT: It is a",
    BRACKETS: "[INST] <image>What animal is this? [/INST]It is a",
    THINKING: f"{_USER}<think>\n\n</think>\n\nIt is a",
    ALWAYS: f"{_USER}<think>\n\n</think>\n\nIt is a",
}


def chatting(vlm: ns.VLM, template: str, chat: Any = "auto") -> ns.VLM:
    """The same weights with another checkpoint's template."""
    processor = copy.copy(vlm.processor)
    processor.chat_template = template
    return ns.load((vlm.model, processor), chat=chat, check=False)


@pytest.mark.parametrize("template", SENT, ids=["marks", "names", "brackets", "thinking", "always"])
def test_question_and_beginning_stand_where_the_template_puts_them(vlm: ns.VLM, template: str):
    model = chatting(vlm, template)
    assert model.chat
    assert model.sent(ASKED) == SENT[template]
    assert model.sent(ns.Decoding(question=QUESTION)) == SENT[template].removesuffix("It is a").removesuffix(
        " " if template == NAMES else ""
    )
    alone = SENT[template].replace(QUESTION, "").replace("It is a", "The image shows a")
    assert model.sent() == alone
    assert model.sent(ASKED, images=2) == SENT[template].replace("<image>", "<image><image>")


def test_a_system_turn_or_the_templates_refusal(vlm: ns.VLM):
    told = ns.Decoding(question=QUESTION, system="Answer in one word.")
    assert (
        chatting(vlm, MARKS)
        .sent(told)
        .startswith("<|im_start|>system\nAnswer in one word.<|im_end|>\n<|im_start|>user")
    )
    with pytest.raises(
        InvalidOption, match=r"does not take question='What animal is this\?', system=.*no system turns"
    ):
        chatting(vlm, BRACKETS).sent(told)


def test_a_beginning_of_text_stands_once(vlm: ns.VLM, picture):
    model = chatting(vlm, BEGUN)
    row = model.prepare([picture], ASKED).rows[0].tensors["input_ids"][0].tolist()
    begin = vlm.tokenizer.bos_token_id
    assert begin is None or row.count(begin) <= 1


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{% for message in messages %}{{ message['role'] + message['content'] }}{% endfor %}",
        "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}",
        "no turns at all",
        "{{ raise_exception('never') }}",
        "{% for part in messages %}<image><image>{% endfor %}",
        "{% broken",
    ],
)
def test_templates_that_know_no_images_are_left_alone(vlm: ns.VLM, template: str | None):
    model = chatting(vlm, template)  # pyright: ignore[reportArgumentType]
    assert not model.chat
    assert not has_chat(model.processor, model.placeholder)
    assert model.sent() == vlm.sent() == "<image>\nThe image shows a"
    assert model.sent(ASKED) == "<image>\nWhat animal is this?\nIt is a"
    for refused in (lambda: chatting(vlm, template, "always"), lambda: model.sent(ns.Decoding(chat="always"))):  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidOption, match="no chat template that shows an image"):
            refused()


def test_the_model_or_the_decoding_may_do_without_it(vlm: ns.VLM):
    assert chatting(vlm, MARKS, "never").sent() == vlm.sent()
    model = chatting(vlm, MARKS)
    assert model.sent(ns.Decoding(chat="never")) == vlm.sent()
    assert chatting(vlm, MARKS, "never").sent(ns.Decoding(chat="always")) == model.sent()
    assert model.sent(ns.Decoding("a", "{image} {question}: {prefix}", question="what")) == "<image> what: a"
    assert model.sent(ns.Decoding("a", "{system} {image} {prompt}", question="what", system="S")) == "S <image> what\na"
    assert model.record()["template"] == "chat"
    assert vlm.record()["template"] == "{image}\n{prompt}"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"chat": "sometimes"}, "chat='sometimes' is not known"),
        ({"chat": "always", "template": "{image}{prompt}"}, "takes the chat template's place"),
        ({"template": "{image}{question}{prompt}"}, "has {question}, and no question is given"),
        ({"template": "{system}{image}{prompt}"}, "has {system}, and no system is given"),
        ({"question": 3}, "question=3 is not"),
    ],
)
def test_unfit_decodings(options: dict[str, Any], reason: str):
    with pytest.raises(InvalidOption, match=reason):
        ns.Decoding(**options)


def test_the_beginning_is_the_papers_where_nothing_is_asked():
    assert ns.Decoding().beginning == "The image shows a"
    assert ns.Decoding(question="What?").beginning == ""
    assert ns.Decoding("", question="").beginning == ""
    assert ns.Decoding("It", question="What?").beginning == "It"
    for made in (ns.Decoding(), ASKED, ns.Decoding("a", "{image}{prompt}", system="s", chat="never")):
        assert ns.Decoding.from_dict(json.loads(json.dumps(made.to_dict()))).to_dict() == made.to_dict()


def test_answers_are_what_is_written_behind_it(vlm: ns.VLM, picture):
    model = chatting(vlm, MARKS)
    ids = model.prepare([picture], ns.Decoding(question=QUESTION)).rows[0].tensors["input_ids"][0].tolist()
    assert model.tokenizer.decode(ids[-3:]) == model.tokenizer.decode(
        model.tokenizer("<|im_start|>assistant\n", add_special_tokens=False).input_ids[-3:]
    )
    answer = model.ask(picture, QUESTION, decoding=ns.Decoding(max_new_tokens=4))
    assert answer == model.captions([picture], decoding=ns.Decoding(question=QUESTION, max_new_tokens=4))[0].strip()
    whole = model.caption(picture, decoding=ns.Decoding("It is a", question=QUESTION, max_new_tokens=4))
    assert whole.startswith("It is a")


def test_minigpt4_keeps_its_conversation_and_can_do_without():
    row = FAMILIES["minigpt4"]
    assert ns.Decoding().text(row, "<I>") == "[INST] <Img><I></Img> The image shows a [/INST] "
    assert ns.Decoding(chat="never").text(row, "<I>") == "<Img><I></Img> The image shows a"
    assert ns.Decoding("a", question="What?").text(row, "<I>") == "[INST] <Img><I></Img> What? [/INST] a"


#: Families whose real processors put a placeholder of their own into the text.
FAMILIES_THAT_CHAT = (
    *(
        "qwen2_vl",
        "qwen2_5_vl",
        "qwen3_vl",
        "internvl",
        "gemma3",
        "llava_onevision",
        "smolvlm",
        "idefics3",
        "llava_next",
    ),
    *("aya_vision", "glm4v", "ovis2", "mistral3"),
)


@cache
def unproved(kind: str) -> ns.VLM:
    """A tiny model whose map of the image is not asked for."""
    return ns.load(ZOO[kind].build(), check=False)


@pytest.mark.parametrize("kind", FAMILIES_THAT_CHAT)
@pytest.mark.parametrize("template", [MARKS, NAMES, BEGUN], ids=["marks", "names", "begun"])
def test_real_processors_find_the_image_in_a_conversation(kind: str, template: str):
    """Whatever an image's placeholder is: as many image tokens as without a conversation, at places further back."""
    vlm = unproved(kind)
    own = template.replace("<image>", vlm.placeholder)
    model = chatting(vlm, own)
    assert model.chat
    picture = noise_picture((96, 64))
    asked = ns.Decoding("a", question="what is it")
    sent = model.sent(asked)
    assert sent.count(vlm.placeholder) == 1
    assert sent.endswith("a")
    plain, told = (one.prepare([picture], asked).rows[0] for one in (vlm, model))
    assert told.image.count == plain.image.count
    if not vlm.family.no_image:
        assert (told.tensors["input_ids"][0, told.image.positions] == vlm.image_token).all()
    begin = vlm.tokenizer.bos_token_id
    assert begin is None or told.tensors["input_ids"][0].tolist().count(begin) <= 1
    assert len(model.captions([picture], decoding=ns.Decoding("a", question="what", max_new_tokens=2))) == 1
