"""Waiting until the weather is better: longer each time, never all at the same moment, not for ever."""

import asyncio
import logging
import random
from time import monotonic

from maillage.problems import Failure

log = logging.getLogger("maillage")

FIRST_S, LONGEST_S = 0.5, 30.0
# What a server may ask us to wait; it may not send us away for days.
MOST_ASKED_S = 3600.0


def pause(failures: int, chance: float) -> float:
    """Seconds before the next attempt after so many failures, by a chance from 0 to 1."""
    return float(min(LONGEST_S, FIRST_S * 2 ** min(failures, 16)) * (0.5 + chance / 2))


class Weather:
    """How long it has been bad, and for how many seconds that is waited out."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._failures, self._since = 0, monotonic()

    def clear(self) -> None:
        """Something came through: what was before does not count any more."""
        self._failures, self._since = 0, monotonic()

    async def outlast(self, trouble: Failure) -> None:
        """Sleep until the next attempt; raises `trouble` where it does not pass, or not in time."""
        asked = min(trouble.retry_after or 0.0, MOST_ASKED_S)
        seconds = max(asked, 0.0) + pause(self._failures, random.random())  # noqa: S311 - spreads clients out
        if not trouble.passing or monotonic() - self._since + seconds > self._patience:
            raise trouble
        self._failures += 1
        log.warning("%s; again in %.1f s", trouble, seconds)
        await asyncio.sleep(seconds)
