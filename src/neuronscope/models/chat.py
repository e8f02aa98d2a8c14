"""A checkpoint's own chat template: a question about images as the model was trained to be asked it.

    what is sent = the template's text for [system], images and question, with its beginning of the answer,
                   then the beginning of the answer that the caption continues

The processor writes the text (`apply_chat_template`); nothing of a template is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError

from ..errors import InvalidOption, first_line

#: Variables by which templates are asked not to let the model think aloud first, and the value that says so.
_THINKING: Mapping[str, bool] = {"enable_thinking": False, "thinking": False}
#: What a thought begins and ends with in the templates that write one.
_THOUGHT = ("<think>", "\n\n</think>\n\n")
#: A word that no template changes, to see where an answer is put.
_ANSWER = "Answer"
#: What templates raise about a conversation that they do not take.
_REFUSALS = (TemplateError, ValueError, TypeError, LookupError, AttributeError)


def has_chat(processor: Any, placeholder: str) -> bool:
    """Whether the checkpoint has a chat template that puts an image into the text.

    Templates of language models, which tokenizers bring with them, know of no images: they are not the model's.
    """
    if not getattr(processor, "chat_template", None):
        return False
    try:
        text = _rendered(processor, _asked("", "", 1))
    except _REFUSALS:
        return False
    return bool(placeholder) and text.count(placeholder) == 1


def chats(chat: str, processor: Any, placeholder: str, id: str) -> bool:
    """Whether prompts of a model go through its chat template, as `load` was told: "auto", "always" or "never".

    Raises InvalidOption for "always" without such a template.
    """
    found = chat != "never" and has_chat(processor, placeholder)
    if chat == "always" and not found:
        raise InvalidOption(f"{id} has no chat template that shows an image: chat='always' cannot be done with it")
    return found


def chat_text(
    processor: Any, placeholder: str, *, id: str, question: str, system: str = "", prefix: str = "", images: int = 1
) -> str:
    """What is sent: the template's text, and the beginning of the answer behind it.

    Args:
        processor: of the model.
        placeholder: what stands for an image in the text.
        id: what errors call the model.
        question: of the user's turn, behind the images; empty for images alone.
        system: of a system turn; none where it is empty, so that a template may have its own.
        prefix: the beginning of the answer.
        images: how many.

    Thinking aloud is switched off where the template has a switch, and closed where it begins a thought.

    Raises InvalidOption for a conversation that the template does not take, or that it writes another number of images
    for.
    """
    asked = _asked(question, system, images)
    try:
        text = _rendered(processor, asked)
    except _REFUSALS as error:
        raise InvalidOption(
            f"the chat template of {id} does not take question={question!r}, system={system!r} and {images} "
            f"images: {first_line(error)}"
        ) from error
    if text.count(placeholder) != images:
        raise InvalidOption(
            f"the chat template of {id} writes {text.count(placeholder)} images for {images}, with "
            f"question={question!r}"
        )
    if text.rstrip().endswith(_THOUGHT[0]):
        text = text.rstrip() + _THOUGHT[1]
    if prefix:
        text += _gap(processor, asked, text) + prefix
    return _once(processor.tokenizer, text)


def _asked(question: str, system: str, images: int) -> list[dict[str, Any]]:
    content: list[dict[str, str]] = [{"type": "image"}] * images
    content += [{"type": "text", "text": question}] if question else []
    return [*([_turn("system", system)] if system else []), {"role": "user", "content": content}]


def _turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _rendered(processor: Any, conversation: list[dict[str, Any]], **more: Any) -> str:
    template = str(processor.chat_template)
    switches = {name: value for name, value in _THINKING.items() if name in template}
    told = {"add_generation_prompt": True, **switches, **more}
    return str(processor.apply_chat_template(conversation, tokenize=False, **told))


def _gap(processor: Any, asked: list[dict[str, Any]], text: str) -> str:
    """What the template writes between the beginning of an answer and its first word: a space, or nothing."""
    try:
        whole = _rendered(processor, [*asked, _turn("assistant", _ANSWER)], add_generation_prompt=False)
    except _REFUSALS:
        whole = ""
    between, found, _ = whole.removeprefix(text).partition(_ANSWER)
    if found and whole.startswith(text) and not between.strip():
        return between
    return " " if text[-1:].isalnum() or text.endswith(":") else ""


def _once(tokenizer: Any, text: str) -> str:
    """The text without a beginning of text that the tokenizer writes by itself."""
    begin = getattr(tokenizer, "bos_token", None)
    if begin and text.startswith(begin) and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]:
        return text.removeprefix(begin)
    return text
