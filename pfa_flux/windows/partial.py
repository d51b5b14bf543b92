"""The one rule for answers that the engine calls partial: they prove nothing and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pfa_flux.engines.base import Engine
from pfa_flux.errors import PartialAnswerError

WHY = (
    "A node of its cluster may be down, or max-row-limit of InfluxDB 1.x may cut its answers (set it to 0, the "
    "default)."
)
"""The causes of partial answers, and what to do."""

COMPARED = "raw and downsampled data cannot be compared, and nothing was changed"
"""The consequence for a comparison of windows."""


@contextmanager
def whole(engine: Engine, follows: str = COMPARED) -> Iterator[None]:
    """A context in which all answers must be complete. Partial answers in other threads count, too.

    Args:
        engine: the engine that answers.
        follows: the consequence of a partial answer, as part of a sentence.

    Raises:
        PartialAnswerError: an answer was partial. It is raised at the end of the block.
    """
    before = engine.partial_answers
    yield
    if engine.partial_answers != before:
        raise PartialAnswerError(
            f"{engine.capabilities.title} reported a partial answer: {follows}",
            f"{WHY} Fix that, then try again.",
        )
