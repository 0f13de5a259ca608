"""Epochs: a stolen key, a lost tail, a shorter log. Every sync ends where the node says that it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import msgspec
import pytest

from demo.rabbitmq import Vhost
from services import broker, follow, follow_store, identity, ledger_epochs, signing
from services.keyring import Keyring
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import all_stand, federated, served
from tests.nodes import Registry, Service, Sync, eventually


async def agree(*syncs: Sync) -> Any:
    """Wait until all hold the same digest; it."""

    async def same() -> Any:
        digests = [await sync.digest() for sync in syncs]
        return digests[0] if all(d == digests[0] for d in digests) else None

    return await eventually(same, 60)


@asynccontextmanager
async def database(service: Service) -> AsyncIterator[Any]:
    """A connection to the database of a service."""
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        yield conn
    finally:
        await conn.close()


async def stands(sync: Sync, node: str, cursor: str, state: str = "live") -> None:
    """Wait until a sync stands at a position of a node's log, and has merged it."""

    async def there() -> bool:
        found = (await sync.networks())[node]
        return (found["cursor"], found["state"]) == (cursor, state)

    await eventually(there, 60)


class Thief:
    """Somebody who has a node's online key, and the key to its exchange."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def forge(self, name: str) -> aio_pika.Message:
        """The next event of the log, as the node never wrote it, well signed."""
        lines = (await self.registry.get("/feed?after=0.0&limit=1000")).splitlines()
        last = msgspec.json.decode(msgspec.json.decode(lines[-2])["raw"])
        seq = int(last["sequence"]) + 1
        event = {
            **last,
            "id": f"1-{seq:016d}",
            "sequence": f"{seq:016d}",
            "subject": f"{self.registry.node}:01900000-0000-7000-8000-{seq:012x}",
            "recordversion": 1,
            "data": {**last["data"], "name": name},
        }
        raw = msgspec.json.encode(event)
        (key,) = Keyring(self.registry.root.parent / "keys").folder.glob("*.key")
        signer = Keyring(key.parent).signer(key.stem)
        headers = {"kid": signer.kid, "sig": signing.text(signer.sign(signing.EVENT, raw))}
        return aio_pika.Message(raw, headers=headers, message_id=str(uuid4()))  # type: ignore[arg-type]


async def test_a_stolen_key_is_revoked_and_every_sync_forgets(federation: Federation, vhost: Vhost) -> None:
    """A forged event was believed; after the revocation the view is that of a world without it."""
    registry = await federation.registry(amqp_url=vhost.url, amqp_public_url=vhost.reader_url)
    for _ in range(3):
        await registry.add()
    fooled = await federation.sync([registry])
    await stands(fooled, registry.node, "1.3")

    async def listening() -> bool:
        return await fooled.metric("maillage_follow_listening") == 1

    await eventually(listening)
    before = (await fooled.digest())["view_root"]
    async with broker.connected(vhost.url) as connection:
        channel = await broker.topology(connection)
        await broker.publish(channel, await Thief(registry).forge("Faux lieu"), "place.put.35")
        await stands(fooled, registry.node, "1.4")
    assert (await fooled.get("/collections/places/items?q=faux"))["numberMatched"] == 1
    kid = identity_of(await registry.get("/.well-known/maillage"))["signing_keys"][0]["kid"]
    await registry.key("revoke", kid, "--last-good", "1.3")
    await stands(fooled, registry.node, "2.3")
    assert (await fooled.get("/collections/places/items?q=faux"))["numberMatched"] == 0
    assert (await fooled.digest())["view_root"] == before
    await registry.add(name="Vrai lieu")
    await stands(fooled, registry.node, "2.4")
    innocent = await federation.sync([registry])
    await stands(innocent, registry.node, "2.4")
    assert (await agree(fooled, innocent))["count"] == 4


async def test_a_rotation_in_a_burst_rejects_nothing_anywhere(federation: Federation, vhost: Vhost) -> None:
    """While messages come through RabbitMQ the key is changed three times: all of them are believed, none refused."""
    registry = await federation.registry(amqp_url=vhost.url, amqp_public_url=vhost.reader_url)
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.0")

    async def brought() -> bool:
        await registry.add()
        return await sync.metric("maillage_follow_events_total", via="amqp") > 0

    await eventually(brought, 60)
    for _ in range(3):
        writing = [asyncio.create_task(registry.add()) for _ in range(10)]
        await registry.key("rotate")
        await asyncio.gather(*writing)
    await registry.add()
    size = len(await registry.feed())
    await stands(sync, registry.node, f"1.{size}")
    assert await sync.metric("maillage_follow_refused_total") == 0
    keys = identity_of(await registry.get("/.well-known/maillage"))["signing_keys"]
    assert len({line["kid"] for line in await lines_of(registry)}) > 1
    assert len(keys) == 4


async def lines_of(registry: Registry) -> list[dict[str, Any]]:
    """The events of a log as they are served."""
    body = await registry.get("/feed?after=0.0&limit=1000")
    return [msgspec.json.decode(line) for line in body.splitlines()[:-1]]


def identity_of(descriptor: Any) -> Any:
    """What a served descriptor says."""
    return msgspec.json.decode(descriptor["raw"])


async def test_a_shorter_log_in_a_new_epoch_is_followed_back(federation: Federation) -> None:
    """Withdrawn, changed and new places are as they were at the base, and the log goes on from there."""
    registry = await federation.registry()
    first = await registry.add(name="Premier", summary="avant")
    second = await registry.add(name="Second")
    early = await federation.sync([registry])
    await stands(early, registry.node, "1.2")
    await registry.change(first["id"], summary="après")
    await registry.withdraw(second["id"])
    await registry.add(name="Troisième")
    await stands(early, registry.node, "1.5")
    late = await federation.sync([registry])
    await stands(late, registry.node, "1.5")
    await registry.key("epoch", "--at", "2")
    await stands(early, registry.node, "2.2")
    # It began at 1.5, and cannot go back before that: it starts anew.
    await stands(late, registry.node, "2.2")
    await agree(early, late)
    place = await early.get(f"/places/{registry.node}:{first['id'].rpartition(':')[2]}")
    assert place["place"]["summary"] == "avant"
    await registry.change(first["id"], summary="autrement")
    await stands(early, registry.node, "2.3")
    await stands(late, registry.node, "2.3")
    fresh = await federation.sync([registry])
    await stands(fresh, registry.node, "2.3")
    assert (await agree(early, late, fresh))["count"] == 2


def another(node: Impostor, line: dict[str, Any]) -> dict[str, Any]:
    """An event with another name in it, as well signed."""
    raw = line["raw"].replace("Lieu", "Mieu")
    node.subjects[raw] = node.subjects[line["raw"]]
    return node.signed(raw.encode(), signing.EVENT)


async def test_an_epoch_on_another_log_is_a_fork(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that is not what was read at that size stops the node, until an epoch is based on what was."""
    monkeypatch.setattr(follow, "LONGEST_PAUSE", 1.0)
    async with served([Impostor("autre passé"), Impostor("trop loin")]) as impostors:
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(impostors, ("live", "1.0")))
        for impostor in impostors.values():
            for _ in range(3):
                impostor.say()
        await all_stand(sync, impostors, dict.fromkeys(impostors, ("live", "1.3")))
        past, far = impostors["autre passé"], impostors["trop loin"]
        honest, kept = past.lines[1], far.lines[2]
        past.lines[1] = another(past, honest)
        past.open_epoch(2)
        far.lines[2] = another(far, kept)
        far.say()
        far.open_epoch(4)
        await all_stand(sync, impostors, {"autre passé": ("forked", "1.3"), "trop loin": ("forked", "1.3")})
        past.lines[1], far.lines[2] = honest, kept
        past.open_epoch(1)
        far.open_epoch(3)
        for impostor in impostors.values():
            impostor.say()
        await all_stand(sync, impostors, {"autre passé": ("live", "3.2"), "trop loin": ("live", "3.4")})


async def test_an_old_epoch_from_a_cache_is_no_fork(federation: Federation) -> None:
    """A mirror that still shows the epoch before harms nobody, and is no sign of life either."""
    async with served([Impostor("miroir")]) as impostors:
        mirror = impostors["miroir"]
        for _ in range(3):
            mirror.say()
        old_chain, old = list(mirror.chain), mirror.page(0)
        mirror.open_epoch(2)
        mirror.say()
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, {"miroir": ("live", "2.3")})
        mirror.says("/feed", b"".join(msgspec.json.encode(line) + b"\n" for line in (*old[3:], old[-1])[-1:]))
        now, mirror.chain = mirror.chain, old_chain
        await all_stand(sync, impostors, {"miroir": ("stale", "2.3")})
        assert await sync.metric("maillage_follow_refused_total") == 0
        mirror.chain = now
        mirror.answers.clear()
        mirror.say()
        await all_stand(sync, impostors, {"miroir": ("live", "2.4")})


async def test_who_was_away_for_too_long_begins_with_the_snapshot(federation: Federation) -> None:
    """A feed that keeps its last events only says so; a sync that comes back reaches the same digest."""
    registry = await federation.registry()
    for _ in range(4):
        await registry.add()
    away = await federation.sync([registry])
    await stands(away, registry.node, "1.4")
    await away.stop()
    for _ in range(6):
        await registry.add()
    async with database(registry) as conn, conn.transaction():
        assert await ledger_epochs.let_go(conn, 2)
    status, problem, _ = await registry.call("GET", "/feed?after=1.4")
    assert (status, problem["type"], problem["floor"]) == (410, "urn:maillage:problem:cursor-too-old", "1.8")
    assert problem["snapshot"] == "/snapshot"
    assert (await registry.call("GET", "/feed?after=1.8"))[0] == 200
    await away.start()
    await stands(away, registry.node, "1.10")
    await registry.add()
    fresh = await federation.sync([registry])
    await stands(fresh, registry.node, "1.11")
    await stands(away, registry.node, "1.11")
    assert (await agree(away, fresh))["count"] == 11


async def test_the_operator_may_take_a_forked_node_back(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started over, a node counts by what it shows now; what it signed before stays as evidence."""
    monkeypatch.setattr(follow, "LONGEST_PAUSE", 1.0)
    async with served([Impostor("faux")]) as impostors:
        node = impostors["faux"]
        for _ in range(3):
            node.say()
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, {"faux": ("live", "1.3")})
        node.lines[1] = another(node, node.lines[1])
        await all_stand(sync, impostors, {"faux": ("forked", "1.3")})
        async with database(sync) as conn:
            await follow_store.start_over(conn, node.node)
            assert len(await follow_store.evidence(conn, node.node)) == 1
        await all_stand(sync, impostors, {"faux": ("live", "1.3")})
        subjects = {node.subjects[line["raw"]] for line in node.lines}

        async def merged() -> bool:
            return all([(await sync.call("GET", f"/places/{s}"))[0] == 200 for s in subjects])

        await eventually(merged)


def test_the_epoch_of_a_number_is_the_last_that_covers_it() -> None:
    """Epochs may be cut away by later ones: the number tells which one wrote what stands there now."""
    i = Impostor("faux")
    for _ in range(10):
        i.say()
    i.open_epoch(6)
    for _ in range(4):
        i.say()
    i.open_epoch(8)
    i.say()
    i.open_epoch(7)
    whose = identity.verified(i.chain)
    assert [whose.epoch_of(seq) for seq in range(1, 11)] == [1] * 6 + [2] + [4] * 3
    assert [whose.last_of(epoch) for epoch in range(1, 5)] == [6, 7, 7, None]
