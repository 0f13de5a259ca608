"""Where the view stands, known in process: so that what is asked again is answered without the database."""

from collections import OrderedDict

from msgspec import Struct

from services.postgres import Pool
from services.sync import store

# What an answer costs beside its bytes and its tag: an empty tile takes memory as well.
SLOT = 200


class Standing(Struct, frozen=True, order=True):
    """The position of our own log, and how often what answers lean on has changed beside it."""

    epoch: int
    size: int
    turns: int

    @property
    def cursor(self) -> str:
        """The position as answers name it."""
        return f"{self.epoch}.{self.size}"

    def __str__(self) -> str:
        return f"{self.cursor}.{self.turns}"


class Position:
    """Where the view stood when it was last looked at: `now` is None before that."""

    def __init__(self) -> None:
        self.now: Standing | None = None

    def seen(self, at: Standing) -> None:
        """Somebody has been told this: what he asks next is not answered from before."""
        if self.now is None or at > self.now:
            self.now = at

    async def look(self, pool: Pool) -> None:
        """Look where the view stands."""
        async with pool.acquire() as conn:
            self.seen(Standing(*await store.standing(conn)))


class Answers:
    """Answers kept as long as the view stands where it does; those asked for longest ago leave first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._at: Standing | None = None
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def find(self, at: Standing, tag: str) -> bytes | None:
        """The answer of this tag, where the view still stands there."""
        if at != self._at or tag not in self._kept:
            return None
        self._kept.move_to_end(tag)
        return self._kept[tag]

    def keep(self, at: Standing, tag: str, answer: bytes) -> None:
        """Keep an answer; what was kept of another position is forgotten."""
        if at != self._at:
            self._kept.clear()
            self._bytes, self._at = 0, at
        if tag in self._kept or _size(tag, answer) > self._most // 4:
            return
        self._kept[tag] = answer
        self._bytes += _size(tag, answer)
        while self._bytes > self._most:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(tag: str, answer: bytes) -> int:
    return SLOT + len(tag) + len(answer)
