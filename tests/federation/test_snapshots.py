"""Snapshots of strangers: they cost what they are, and others do not wait for them."""

import asyncio
import tracemalloc

import asyncpg
import msgspec
import pytest
from aiohttp import web

from schemas.event import Checkpoint
from services import follow, proofs
from services.errors import Untrue
from services.proofs import Followed, State
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import all_stand, federated, served
from tests.nodes import eventually


def closing(count: int, size: int | None = None) -> Checkpoint:
    """A full checkpoint over so many records."""
    said = msgspec.json.decode(Impostor("faux").checkpoint()["raw"], type=Checkpoint)
    return msgspec.structs.replace(said, size=count if size is None else size, count=count)


def followed(subjects: list[str]) -> list[Followed]:
    """An event of each of these records."""
    i = Impostor("faux")
    known = []
    for seq, subject in enumerate(subjects, start=1):
        raw = i.event(subject=subject)
        known.append(proofs.Followed(1, seq, raw, "", b"", raw[:32], proofs._event(raw)[0]))
    return known


def test_a_snapshot_that_claims_too_much_is_refused_unread() -> None:
    """More records than the log has events, or than any network has, are refused before the first is read."""
    State(closing(3, size=3))
    for count, size in ((4, 3), (proofs.MOST_RECORDS + 1, 2**40)):
        with pytest.raises(Untrue):
            State(closing(count, size))


def test_a_snapshot_ends_where_its_node_said() -> None:
    """The record after the last one that was signed is refused as it comes, however many follow."""
    node = "a" * 26
    subjects = [f"{node}:01900000-0000-7000-8000-{n:012x}" for n in range(3)]
    state = State(closing(2, size=9))
    state.add(followed(subjects[:2]))
    with pytest.raises(Untrue):
        state.add(followed(subjects)[2:])


def test_records_of_a_snapshot_are_hashed_and_let_go() -> None:
    """What is remembered of a snapshot does not grow with the number of its records."""
    node = "a" * 26
    event = followed([f"{node}:01900000-0000-7000-8000-000000000000"])[0]
    assert event.event is not None
    state = State(closing(20_000))
    tracemalloc.start()
    try:
        for n in range(20_000):
            subject = f"{node}:01900000-0000-7000-8000-{n:012x}"
            now = msgspec.structs.replace(event.event, subject=subject)
            state.add([msgspec.structs.replace(event, seq=n + 1, event=now)])
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


async def test_snapshots_that_are_being_stored_hold_up_no_events(federation: Federation) -> None:
    """While more new nodes than write at a time have snapshots under way, a change elsewhere is seen at once."""
    ready = asyncio.Event()
    slow = [Impostor(f"lent {n}") for n in range(follow.WRITERS + 1)]

    def waits(i: Impostor) -> None:
        async def reply(request: web.Request) -> web.StreamResponse:
            await ready.wait()
            return web.Response(body=i.snapshot())

        i.answers["/snapshot"] = reply

    async with served(slow) as impostors:
        for impostor in slow:
            impostor.say()
            waits(impostor)
        honest, sync, _ = await federated(federation, impostors)
        await sync.caught_up([honest])
        await all_stand(sync, impostors, dict.fromkeys(impostors, ("snapshotting", "0.0")))
        held = await asyncpg.connect(sync.settings.database_url)
        try:
            async with held.transaction():
                await held.execute(
                    "SELECT FROM follow_node WHERE node = ANY($1::text[]) FOR UPDATE",
                    [i.node for i in slow],
                )
                ready.set()

                async def storing() -> bool:
                    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                    return int(await held.fetchval(waiting)) >= follow.SNAPSHOTS

                await eventually(storing)
                await honest.add(name="Pendant ce temps")
                await sync.caught_up([honest], 30)
        finally:
            await held.close()
        await all_stand(sync, impostors, dict.fromkeys(impostors, ("live", "1.1")))
