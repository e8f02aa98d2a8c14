"""Whether the hub answers, asked once and briefly before anything is fetched from it.

transformers asks for each file by itself, and huggingface_hub tries each five more times: without a network that is a
minute and a half of retries on stderr, also where all files are in this machine's cache.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from ..errors import UnsupportedModel, first_line

#: Seconds that the hub has for its answer.
PATIENCE = 10.0
#: Seconds for which an answer that did not come is not asked for again.
_KNOWN_FOR = 60.0
_SILENCE: dict[str, tuple[float, str]] = {}
_OFFLINE = RLock()


@contextmanager
def answering(where: str | Path, revision: str = "main") -> Generator[None]:
    """Read a hub id's files inside the block: from the hub if it answers, else from the cache without asking again.

    Args:
        where: a hub id; for a directory nothing is asked.
        revision: of the hub id.

    Raises:
        UnsupportedModel: the hub has no such model or revision or does not let this machine have it, or it does not
            answer and the cache does not have the model either.
    """
    if Path(where).exists():
        yield
        return
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(str(where))
    except HFValidationError as error:
        raise UnsupportedModel(f"{str(where)[:80]} is no directory here and no name of the hub's") from error
    if (why := _silent(str(where), revision)) is None:
        yield
        return
    if not _cached(str(where), revision):
        raise UnsupportedModel(
            f"{where} is no directory here and not in this machine's cache, and the hub cannot be reached ({why}); "
            "give a directory, or run `hf download` where there is a network"
        )
    with _OFFLINE:  # the switch is the process's, so one thread at a time turns it
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def _silent(repository: str, revision: str) -> str | None:
    """Why the hub does not answer, as it was found in the last minute; None where it does."""
    from huggingface_hub import constants

    since, why = _SILENCE.get(constants.ENDPOINT, (-_KNOWN_FOR, ""))
    if time.monotonic() - since < _KNOWN_FOR:
        return why
    found = _asked(repository, revision)
    if found is not None:
        _SILENCE[constants.ENDPOINT] = time.monotonic(), found
    return found


def _asked(repository: str, revision: str) -> str | None:
    """The same, asked now. Raises UnsupportedModel where the answer is no."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(repository, revision=revision, timeout=PATIENCE)
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code == 429 or code >= 500:
            return f"it says {code}"
        raise UnsupportedModel(
            f"{repository} is no directory here, and the hub has no such model or revision {revision!r}, or not for "
            f"this machine without `hf auth login` (it says {code})"
        ) from error
    except Exception as error:  # the classes of the network's errors change with the library that is used for it
        return first_line(error)
    return None


def _cached(repository: str, revision: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "config.json", revision=revision), str)
