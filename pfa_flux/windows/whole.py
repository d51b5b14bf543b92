"""The one rule about answers that the engine itself calls partial: nothing is proved, and nothing changed, by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pfa_flux.engines.base import Engine
from pfa_flux.errors import PartialAnswerError

WHY = (
    "A node of its cluster may be down, or max-row-limit of an InfluxDB 1.x cuts its answers (set it to 0, as it is "
    "shipped)."
)
"""What partial answers come from, and what to do."""


COMPARED = "raw and downsampled data cannot be compared, and nothing is changed"
"""What follows where windows are looked at."""


@contextmanager
def whole(engine: Engine, follows: str = COMPARED) -> Iterator[None]:
    """Within it all answers have to be whole. Another thread's that is not counts as ours.

    Args:
        engine: who answers.
        follows: what follows from a partial answer, in words.

    Raises:
        PartialAnswerError: at the end of the block, if one was not.
    """
    before = engine.partial_answers
    yield
    if engine.partial_answers != before:
        raise PartialAnswerError(
            f"{engine.capabilities.title} answers in part, and says so: {follows}",
            f"{WHY} Mend that, then try again.",
        )
