"""Two syncs that went through whatever histories may bring hold the same bytes, and those are the nodes' own.

Hundreds of schedules run on PostgreSQL with the real merge; thousands more on shelves (`shelf.py`), where the followers
are the real ones and the merge is not. A history that fails is shortened and printed, so that it can be
played again: by `on_databases` or `on_shelves`, for ever in `ONCE`.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pprint
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest
import structlog

from demo.postgres import Postgres
from services import contradictions, follow, postgres, rewinding
from services.sync.app import SCRIPTS
from tests.engines import CACHE
from tests.federation import histories
from tests.federation.histories import OF_THE_MERGE, STEPS, Step, World
from tests.federation.shelf import Store

ROOT = Path(__file__).parent.parent.parent
SOAK = bool(os.environ.get("MAILLAGE_SOAK"))
# Schedules of one history: then all is begun anew.
LONG, LONG_ON_SHELVES = 100, 250
# Histories in all. In the soak a million schedules on shelves, twenty thousand on databases.
ON_DATABASES, ON_SHELVES = (200, 4000) if SOAK else (2, 8)
PARTS = 8 if SOAK else 1
# Of a history with fewer steps all that is held is looked at after each schedule.
FEW = 100
# How long a history that fails is shortened.
SHORTENING_S = 60
Play = Callable[[Sequence[Step], Counter[str]], Awaitable[None]]

# Faults and turns that every part must have seen.
SEEN = (
    *(verb for verb in STEPS if verb not in OF_THE_MERGE),
    *(
        "away",
        "old copy",
        "cut off",
        "too old",
        "snapshot",
        "rewound",
        "erased",
        "words erased",
        "joined",
        "joined unasked",
    ),
    *("moved by a message", "badly signed", "believed a thief", "cut while reading", "kept out"),
)
SEEN_ON_DATABASES = (
    *SEEN,
    *OF_THE_MERGE,
    "cut while merging",
    "read while merging",
    "events of the view erased",
)

# Histories that once failed: what was wrong then, what they must meet, and their steps. (They are drawn anew by
# `shortened` where steps come to mean something else.)
ONCE: dict[str, tuple[tuple[str, ...], list[Step]]] = {
    "an erase event was missed by a sync that began a log anew, and its own log went on showing": (
        ("erased", "too old", "snapshot"),
        [
            ("writes", 2002652867),
            ("hears", 452229247),
            ("writes", 3006819390),
            ("agrees", 0),
            ("erases", 2620444330),
            ("erases", 487242132),
            ("writes", 625735598),
            ("writes", 3212535982),
            ("hears", 30857475),
            ("erases", 1259554806),
            ("writes", 1585401916),
            ("merges", 2961235971),
            ("claims", 105870989),
            ("erases", 4006294107),
        ],
    ),
}


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pause after an error, no line in a log, no collecting of garbage while a history runs."""
    monkeypatch.setattr(follow, "FIRST_PAUSE", 0.0)
    quiet = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(50))
    monkeypatch.setattr(follow, "log", quiet)
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def on_databases(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Play]:
    """Plays steps with two syncs on fresh databases."""
    template = await migrated(postgres)
    played = 0

    async def play(steps: Sequence[Step], seen: Counter[str]) -> None:
        nonlocal played
        played += 1
        urls = [await postgres.create_database(template=template.rsplit("/", 1)[-1]) for _ in range(2)]
        try:
            async with histories.world(urls, tmp_path / str(played), seen) as w:
                await plays(w, steps)
        finally:
            for url in urls:
                await postgres.drop_database(url)

    yield play
    await postgres.drop_database(template)


async def migrated(server: Postgres) -> str:
    """A database to copy: its URL."""
    url = await server.create_database()
    async with postgres.pool(url, migrations=SCRIPTS):
        return url


@pytest.fixture
def on_shelves(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays steps with two syncs without databases."""
    for module in (follow, rewinding, contradictions):
        monkeypatch.setattr(module, "follow_store", Store())
    monkeypatch.setattr(contradictions, "observed_store", Store())

    async def play(steps: Sequence[Step], seen: Counter[str]) -> None:
        await plays(await histories.light(seen), steps)

    return play


class Failed(AssertionError):
    """A step of a history failed."""

    def __init__(self, index: int, why: BaseException) -> None:
        super().__init__(f"step {index}: {why!r}")
        self.index = index


async def plays(w: World, steps: Sequence[Step]) -> None:
    """Play steps; Failed at the first that does."""
    if len(steps) < FEW:
        w.deep = 1
    for index, step in enumerate(steps):
        try:
            await w.plays([step])
        except Exception as why:
            raise Failed(index, why) from why


async def shortened(play: Play, steps: list[Step]) -> list[Step]:
    """The fewest of these steps that still fail, as far as that can be found within the time."""
    until, size = monotonic() + SHORTENING_S, len(steps) // 2
    while size and monotonic() < until:
        start = 0
        while start < len(steps) and monotonic() < until:
            fewer = steps[:start] + steps[start + size :]
            try:
                await play([*fewer, ("agrees", 0)], Counter())
                start += size
            except Failed as failed:
                steps = fewer[: failed.index + 1]
        size //= 2
    return steps


async def holds(play: Play, steps: list[Step], seen: Counter[str], name: str) -> None:
    """Play a history; where it fails say which steps suffice for that."""
    gc.collect()
    try:
        await play(steps, seen)
    except Failed as failed:
        few = await shortened(play, steps[: failed.index + 1])
        where = "".join(traceback.format_exception(failed.__cause__))
        pytest.fail(f"{name}: {failed}\nThese {len(few)} steps suffice:\n{pprint.pformat(few)}\n{where}")


def digest() -> str:
    """Which version of the code this is."""
    folders = (ROOT / name for name in ("services", "schemas", "tests/federation"))
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


async def all_hold(
    play: Play, name: str, seeds: Sequence[int], long: int, without: Sequence[str]
) -> Counter[str]:
    """Play the histories of these seeds, in a soak but those that this version has passed before."""
    seen: Counter[str] = Counter()
    passed = CACHE / "histories" / digest()
    for seed in seeds:
        done = passed / f"{name}-{seed}"
        if SOAK and done.exists():
            continue
        await holds(play, histories.drawn(seed, long, without), seen, f"seed {seed} on {name}")
        if SOAK:
            passed.mkdir(parents=True, exist_ok=True)
            done.touch()
    return seen


def all_seen(seen: Counter[str], wanted: Sequence[str], least: int) -> None:
    """Every fault has fired; in a soak that goes on, nothing is said of what was seen before."""
    print({what: seen[what] for what in sorted(seen)})
    if seen["agrees"] >= least:
        assert not [what for what in wanted if not seen[what]]
    else:
        assert SOAK


@pytest.mark.parametrize("part", range(PARTS))
async def test_two_syncs_agree_after_any_history(on_databases: Play, part: int) -> None:
    """Real followers and merges on PostgreSQL: equal heads, roots and rows, logs that prove, no erased word."""
    seeds = range(part, ON_DATABASES, PARTS)
    seen = await all_hold(on_databases, "databases", seeds, LONG, ())
    all_seen(seen, SEEN_ON_DATABASES, LONG * 2)


@pytest.mark.parametrize("part", range(PARTS))
async def test_two_followers_hold_what_the_nodes_say_after_any_history(on_shelves: Play, part: int) -> None:
    """Real followers on shelves: what they hold, and with it the view, is what the nodes' logs say, no erased word."""
    seeds = range(part, ON_SHELVES, PARTS)
    seen = await all_hold(on_shelves, "shelves", seeds, LONG_ON_SHELVES, OF_THE_MERGE)
    all_seen(seen, SEEN, LONG_ON_SHELVES * 2)


@pytest.mark.parametrize("what", ONCE)
async def test_what_once_went_wrong_does_not_again(on_databases: Play, what: str) -> None:
    """Histories by which mistakes were found."""
    met, steps = ONCE[what]
    seen: Counter[str] = Counter()
    await on_databases([*steps, ("agrees", 0)], seen)
    assert all(seen[fault] for fault in met)


async def test_a_history_that_fails_is_shortened(on_shelves: Play) -> None:
    """Of two hundred steps those are shown that suffice."""

    async def play(steps: Sequence[Step], seen: Counter[str]) -> None:
        verbs = [verb for verb, _ in steps]
        if "opens" in verbs and "erases" in verbs[verbs.index("opens") :]:
            raise Failed(len(verbs) - 1, AssertionError("not so"))

    few = await shortened(play, histories.drawn(5, 40))
    assert [verb for verb, _ in few if verb != "agrees"] == ["opens", "erases"]
