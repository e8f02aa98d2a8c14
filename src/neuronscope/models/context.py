"""How long a prompt a model was made for."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidOption


def require_context(config: Any, positions: int, prompt: str) -> None:
    """Raise InvalidOption for more positions than the decoder was made for: what it says of them means nothing.

    Args:
        config: the model's.
        positions: of the prompt with its image tokens.
        prompt: for the error.
    """
    limit = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    if isinstance(limit, int) and 0 < limit < positions:
        start = prompt if len(prompt) <= 60 else f"{prompt[:57]}..."
        raise InvalidOption(
            f"a prompt of {positions:,} positions, {start!r} with its image, is longer than the {limit:,} that the "
            "model was made for (max_position_embeddings)"
        )
