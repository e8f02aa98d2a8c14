"""A writer of curves that keeps what it is given."""

from __future__ import annotations


class Kept:
    """Stands for TensorBoard's writer: tag, value and step of every point."""

    def __init__(self) -> None:
        self.points: list[tuple[str, float, int]] = []
        self.closed = False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.points.append((tag, scalar_value, global_step))

    def close(self) -> None:
        self.closed = True

    def last(self) -> dict[str, float]:
        return {tag: value for tag, value, _ in self.points}
