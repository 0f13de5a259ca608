"""How often one may ask: so many times within a rolling period, each asker on her own."""

import math
from collections import deque
from collections.abc import Callable


class Pace:
    """What was asked lately, by asker; only of those who asked last, so that strangers cannot fill the memory.

    `clock` tells seconds.
    """

    def __init__(self, most: int, period: float, clock: Callable[[], float], *, askers: int = 1) -> None:
        self._most, self._period, self._clock, self._askers = most, period, clock, askers
        self._asked: dict[bytes, deque[float]] = {}

    def wait(self, asker: bytes = b"") -> int:
        """Count a question and say 0; where it comes too soon, the seconds until one may be asked again."""
        now = self._clock()
        asked = self._asked.pop(asker, deque())
        while asked and asked[0] <= now - self._period:
            asked.popleft()
        # Last, as who asked longest ago is forgotten first.
        self._asked[asker] = asked
        if len(asked) >= self._most:
            return math.ceil(asked[0] + self._period - now)
        asked.append(now)
        if len(self._asked) > self._askers:
            del self._asked[next(iter(self._asked))]
        return 0
