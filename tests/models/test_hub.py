"""Hub ids: one question, a short wait, one sentence."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

import neuronscope as ns
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.models import hub
from neuronscope.models.checkpoints import find, require_there
from neuronscope.models.hub import answering

ID = "nobody-at-all/no-model"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The hub: what it raises, how often it was asked, and nothing in the cache."""
    state = SimpleNamespace(error=None, times=0, cached=False)

    def model_info(*_: Any, **options: Any) -> None:
        assert options["timeout"] == hub.PATIENCE
        state.times += 1
        if state.error is not None:
            raise state.error

    monkeypatch.setattr(HfApi, "model_info", model_info)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_SILENCE", {})
    monkeypatch.setattr(hub, "_cached", lambda *_: state.cached)
    return state


def refusal(code: int) -> HfHubHTTPError:
    return HfHubHTTPError("no", response=httpx2.Response(code, request=httpx2.Request("GET", "https://hub")))


SILENT = (
    httpx2.ConnectError("[Errno -2] Name or service not known"),
    httpx2.ConnectTimeout("timed out"),
    httpx2.ReadTimeout("The read operation timed out"),
    OSError("Network is unreachable"),
    ValueError("a proxy that answers with something else"),
    refusal(429),
    refusal(500),
    refusal(503),
)


@pytest.mark.parametrize("error", SILENT, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_a_hub_that_does_not_answer_is_told_in_one_sentence(error, asked, capsys):
    asked.error = error
    with pytest.raises(
        UnsupportedModel, match=r"nobody-at-all/no-model is no directory here.*the hub cannot be reached"
    ):
        ns.load(ID)
    with pytest.raises(InvalidOption, match="cannot be reached"):
        require_there(find(ID))
    assert asked.times == 1, "it is not asked again at once"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_hub_that_says_no_is_told_apart(code, asked):
    asked.error = refusal(code)
    with pytest.raises(UnsupportedModel, match=rf"no such model or revision 'v2'.*says {code}"):
        ns.load(ID, revision="v2")


def test_what_is_in_the_cache_is_read_without_asking_again(asked):
    asked.error, asked.cached = SILENT[0], True
    assert not constants.HF_HUB_OFFLINE
    with answering(ID):
        assert constants.HF_HUB_OFFLINE
        with answering(ID):
            pass
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    assert asked.times == 1


def test_a_hub_that_answers_is_used_as_ever(asked):
    with answering(ID):
        assert not constants.HF_HUB_OFFLINE
    assert asked.times == 1


def test_directories_ask_nobody(asked, checkpoint: Path):
    ns.load(checkpoint)
    ns.load("demo")
    assert asked.times == 0


@pytest.mark.parametrize("name", ["a/b/c", "-x", "a--b", "x" * 200, "a b", "two\nlines", "\x1b[31mred", "a/..", "ä/ö"])
def test_what_is_no_hub_id_is_refused(name):
    with pytest.raises(UnsupportedModel, match="no name of the hub"):
        ns.load(name)
