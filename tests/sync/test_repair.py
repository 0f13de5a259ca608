"""A bit that flips in the database is found, told, and put right from another holder; never is a lie written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from schemas import event
from services import fetching, merkle, proofs, signing
from services.errors import Corrupt
from services.mending import Told
from services.sync import app as sync_app
from services.sync import repairing, reprojecting
from tests.conftest import Federation
from tests.federation.impostor import Impostor, ndjson
from tests.federation.test_hostile import all_stand
from tests.nodes import Registry, Sync, eventually


async def run(sync: Sync, statement: str, *args: Any) -> str:
    """A statement on the sync's own database."""
    connection = await asyncpg.connect(sync.settings.database_url)
    try:
        return str(await connection.execute(statement, *args))
    finally:
        await connection.close()


async def value(sync: Sync, statement: str, *args: Any) -> Any:
    """One value of the sync's own database."""
    connection = await asyncpg.connect(sync.settings.database_url)
    try:
        return await connection.fetchval(statement, *args)
    finally:
        await connection.close()


async def repaired(sync: Sync, url: str | None = None) -> list[Told]:
    """What `repair` finds, and puts right from this holder."""
    async with sync_app.database(sync.settings) as pool, fetching.client() as client:
        return await repairing.repaired(pool, client, url)


def words(found: Sequence[Told]) -> list[str]:
    """What was found, in words."""
    return [one.what.format(**one.args) + (" Mended." if one.mended else "") for one in found]


@asynccontextmanager
async def filled(federation: Federation) -> AsyncIterator[tuple[Registry, Sync, Any]]:
    """A network with some places, some of them withdrawn or changed, and a sync that holds them; its digest."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    places = [await registry.add() for _ in range(6)]
    await registry.change(places[0]["id"], summary="Une autre phrase")
    await registry.withdraw(places[1]["id"])
    await registry.claim(places[2]["id"], places[3]["id"])
    await sync.caught_up([registry])
    yield registry, sync, await sync.digest()


FLIP = (
    "set_bit({0}, (octet_length({0}) * 4 + 3)::bigint, 1 - get_bit({0}, (octet_length({0}) * 4 + 3)::bigint))"
)
FLIPS = {
    "bytes": (f"UPDATE follow_event SET raw = {FLIP.format('raw')} WHERE seq = 3", "Event 1.3: its bytes are damaged."),
    "leaf": (f"UPDATE follow_event SET leaf = {FLIP.format('leaf')} WHERE seq = 4", "Event 1.4: its leaf is damaged."),
    "signature": (
        f"UPDATE follow_event SET sig = {FLIP.format('sig')} WHERE seq = 5",
        "Event 1.5: its signature is damaged.",
    ),
    "key": ("UPDATE follow_event SET kid = '0000000000000000' WHERE seq = 5", "Event 1.5: its signature is damaged."),
    "column": ("UPDATE follow_event SET version = 7 WHERE seq = 2", "Event 1.2: its columns are damaged."),
    "peaks": (
        f"UPDATE follow_node SET peaks[1] = {FLIP.format('peaks[1]')}",
        "The Merkle range over the log is damaged.",
    ),
    "record": (
        "UPDATE follow_record SET seq = seq - 1 WHERE seq = 7",
        "its latest event is noted wrongly.",
    ),
    "place": (f"UPDATE view SET body = {FLIP.format('body')}", "of the view is damaged."),
    "entry": (f"UPDATE view SET entry = {FLIP.format('entry')}", "of the view is damaged."),
    "words of a place": ("UPDATE view SET words = 'autre chose'", "of the view is damaged."),
    "bucket": (f"UPDATE bucket SET hash = {FLIP.format('hash')}", "of the view is damaged."),
    "own log": (
        f"UPDATE ledger_event SET leaf = {FLIP.format('leaf')} WHERE seq = 2",
        "Event 1.2: its leaf is damaged.",
    ),
}  # fmt: skip


async def test_flipped_bits_are_found_told_and_mended(federation: Federation) -> None:
    """Nothing is said of what is whole; damage is told alone, then mended, and the view is byte for byte the same."""
    async with filled(federation) as (registry, sync, digest):
        await sync.stop()
        for name, (statement, said) in FLIPS.items():
            assert await repaired(sync) == [], name
            assert not (await run(sync, statement)).endswith(" 0"), name
            told = words(await repaired(sync))
            assert any(said in line for line in told), (name, told)
            assert not any("Mended" in line for line in told), name
            assert words(await repaired(sync)) == told, name
            mended = words(await repaired(sync, registry.url))
            # Where an event is whole again, what points to it may be right as well.
            assert set(mended) <= {f"{line} Mended." for line in told}, name
            assert any(said in line for line in mended), name
        assert await repaired(sync) == []
        await sync.start()
        assert (await sync.caught_up([registry]))["view_root"] == digest["view_root"]
        await registry.add()
        after = await sync.caught_up([registry])
        other = await federation.sync([registry])
        assert (await other.caught_up([registry]))["view_root"] == after["view_root"]
        assert digest["view_root"] != after["view_root"]


async def test_another_sync_is_a_holder_too(federation: Federation) -> None:
    """Where the node itself is away, its events come from whoever follows it."""
    async with filled(federation) as (registry, sync, digest):
        other = await federation.sync([registry])
        await other.caught_up([registry])
        await registry.add()
        await other.caught_up([registry])
        await sync.caught_up([registry])
        await sync.stop()
        await registry.stop()
        assert not (await run(sync, FLIPS["bytes"][0].replace("seq = 3", "seq = 10"))).endswith(" 0")
        assert words(await repaired(sync, other.url)) == ["Event 1.10: its bytes are damaged. Mended."]
        assert await repaired(sync) == []
        assert digest["count"] > 0


async def test_a_holder_that_lies_changes_nothing(federation: Federation) -> None:
    """Neither what nobody signed nor what the node signed for another place is written over a damaged event."""
    async with filled(federation) as (_, sync, _), Impostor("faux").serving() as liar:
        await sync.stop()
        await run(sync, FLIPS["bytes"][0])
        whole = await value(sync, "SELECT (raw, kid, sig, leaf)::text FROM follow_event WHERE seq = 3")
        other = await value(sync, "SELECT convert_from(raw, 'UTF8') FROM follow_event WHERE seq = 4")
        kid, sig = await value(sync, "SELECT (kid, sig) FROM follow_event WHERE seq = 4")
        for line in (
            liar.signed(liar.event(), signing.EVENT),
            {"raw": other, "kid": kid, "sig": signing.text(sig)},
        ):
            liar.says("/feed", ndjson([line, {"checkpoint": liar.checkpoint()}]))
            liar.says("/observed", b"{}", status=404)
            told = words(await repaired(sync, liar.url))
            assert told == ["Event 1.3: its bytes are damaged."]
        assert any("/feed" in path for path in liar.asked)
        assert (
            await value(sync, "SELECT (raw, kid, sig, leaf)::text FROM follow_event WHERE seq = 3") == whole
        )


async def test_another_event_of_the_same_number_mends_nothing(federation: Federation) -> None:
    """A node that signed two events of one number gives back the one that was read, or none."""
    async with Impostor("double").serving() as node:
        sync = await federation.sync([node])  # type: ignore[list-item]
        await all_stand(sync, {"double": node}, {"double": ("live", "1.0")})
        for _ in range(3):
            node.say()
        await all_stand(sync, {"double": node}, {"double": ("live", "1.3")})
        await sync.stop()
        await run(sync, FLIPS["bytes"][0])
        first = node.lines[2]
        node.lines[2] = node.signed(first["raw"].replace("Lieu", "Mieu").encode(), signing.EVENT)
        assert words(await repaired(sync, node.url)) == ["Event 1.3: its bytes are damaged."]
        node.lines[2] = first
        assert words(await repaired(sync, node.url)) == ["Event 1.3: its bytes are damaged. Mended."]


async def test_a_log_that_was_exchanged_is_found_by_its_roots(federation: Federation) -> None:
    """An event that is whole in itself and another than the one in the signed log is found by the checkpoints."""
    async with Impostor("double").serving() as node:
        sync = await federation.sync([node])  # type: ignore[list-item]
        await all_stand(sync, {"double": node}, {"double": ("live", "1.0")})
        for _ in range(3):
            node.say()
        await all_stand(sync, {"double": node}, {"double": ("live", "1.3")})
        await sync.stop()
        raw = node.lines[1]["raw"].replace("Lieu", "Mieu").encode()
        line = node.signed(raw, signing.EVENT)
        await run(
            sync,
            "UPDATE follow_event SET raw = $1, sig = $2, leaf = $3 WHERE seq = 2",
            raw,
            signing.data(line["sig"]),
            merkle.leaf(raw),
        )
        (told,) = words(await repaired(sync))
        assert "are not those that were signed" in told
        assert words(await repaired(sync, node.url)) == ["Event 1.2 is not the one that was signed. Mended."]
        assert await repaired(sync) == []


async def test_a_corrupt_event_ends_the_process(federation: Federation) -> None:
    """The merge does not use what its node did not sign: it ends, and says which event it is and what to do."""
    async with filled(federation) as (registry, sync, digest):
        await sync.stop()
        await run(sync, f"UPDATE follow_event SET raw = {FLIP.format('raw')} WHERE seq = 5")
        await run(sync, "UPDATE follow_node SET rewinds = rewinds + 1")
        await sync.start()
        running, sync.running = sync.running, None
        assert running is not None
        with pytest.raises(BaseExceptionGroup) as ended:
            async with asyncio.timeout(30):
                await running._task
        (corrupt,) = leaves(ended.value)
        assert isinstance(corrupt, Corrupt)
        said = corrupt.detail.format(**corrupt.arguments)
        assert f"Event 1.5 of node {registry.node}" in said
        assert "services.sync repair --from" in said
        await repaired(sync, registry.url)
        await sync.start()
        assert (await sync.caught_up([registry]))["view_root"] == digest["view_root"]


def leaves(group: BaseException) -> list[BaseException]:
    """The errors in a group of groups."""
    if isinstance(group, BaseExceptionGroup):
        return [leaf for inner in group.exceptions for leaf in leaves(inner)]
    return [group]


async def test_what_could_not_be_read_is_read_after_an_upgrade(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of a type that becomes known enter the view of a running sync, as if it had always known it."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    older = proofs.KNOWN - {event.PLACE_PUT}
    monkeypatch.setattr(proofs, "KNOWN", older)
    place = await registry.add()
    await registry.add()
    await registry.change(place["id"], summary="Une autre phrase")
    assert (await sync.caught_up([registry]))["count"] == 0
    assert (await sync.networks())[registry.node]["opaque"] == 3
    monkeypatch.undo()
    async with sync_app.database(sync.settings) as pool:
        assert await reprojecting.reproject(pool) == 3
        assert await reprojecting.reproject(pool) == 0
    knowing = await federation.sync([registry])
    wanted = await knowing.caught_up([registry])

    async def same() -> bool:
        digest: bool = await sync.digest() == wanted
        return digest

    await eventually(same)
    assert wanted["count"] == 2
    assert (await sync.networks())[registry.node]["opaque"] == 0
    assert await repaired(sync) == []
