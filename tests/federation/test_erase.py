"""Erasing is legal: what had to go is nowhere any more, proofs stay valid, and nobody can hide without saying so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.event import RECORD_ERASE
from schemas.node import Signed
from services import identity, ledger_epochs, merkle, proofs, signing
from services.errors import Untrue
from services.notify import app as notify_app
from services.notify.settings import Settings as NotifySettings
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_epochs import agree, database, stands
from tests.federation.test_hostile import all_stand, federated, served
from tests.nodes import Registry, Running, Sync, eventually
from tests.registry.test_keys import known

SECRET = "Marguerite Duras"


async def holds(database_url: str, text: str) -> dict[str, int]:
    """In which tables of a database a text stands, in any column, bytes included."""
    conn = await asyncpg.connect(database_url)
    try:
        names = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = {}
        for (table,) in names:
            hexed = text.encode().hex()
            count = await conn.fetchval(
                f"SELECT count(*) FROM {table} t WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0",
                text,
                hexed,
            )
            if count:
                found[table] = count
        return found
    finally:
        await conn.close()


async def nowhere(urls: Sequence[str], text: str) -> None:
    """Wait until a text stands in none of these databases."""

    async def gone() -> bool:
        return not any([await holds(url, text) for url in urls])

    try:
        await eventually(gone)
    except AssertionError:
        raise AssertionError([await holds(url, text) for url in urls]) from None


@pytest.fixture
async def notified(federation: Federation) -> AsyncIterator[Any]:
    """Makes notifies that follow a service, and ends them."""
    running: list[Running] = []

    async def start(service: Registry | Sync) -> tuple[str, str]:
        url = await federation.database()
        settings = NotifySettings(database_url=url, follow=service.url, port=0)
        running.append(Running(notify_app.serving(settings)))
        return url, f"http://127.0.0.1:{await running[-1].port()}"

    yield start
    for one in running:
        await one.stop()


async def changes(federation: Federation, url: str) -> list[Any]:
    """All that a notify tells."""
    async with federation.client.get(f"{url}/changes?since=0.0&limit=1000") as answer:
        return list(msgspec.json.decode(await answer.read())["changes"])


async def test_an_erased_record_is_nowhere(federation: Federation, notified: Any) -> None:
    """Registry, syncs, notifies: whatever showed it shows it no more, and everything still proves."""
    registry = await federation.registry()
    kept = await registry.add(name="Reste")
    gone = await registry.add(name=SECRET, summary="chez elle", position={"lat": 48.1, "lon": -1.7})
    await registry.change(gone["id"], description=f"Bonjour de {SECRET}")
    csv = f"nom;code postal;commune\nAtelier {SECRET};35600;Redon\n".encode()
    await registry.list_in(csv, source="liste")
    await registry.get("/exports/places.csv")
    syncs = [await federation.sync([registry]) for _ in range(2)]
    told = [await notified(registry), await notified(syncs[0])]
    for sync in syncs:
        await stands(sync, registry.node, "1.4")
    for url, _ in told:

        async def heard(url: str = url) -> bool:
            return "change" in await holds(url, SECRET)

        await eventually(heard)
    listed = (await registry.get("/places?q=atelier"))["places"][0]["id"]
    for record in (gone["id"], listed):
        assert "erased" in await registry.command("erase", record, "--yes")
    databases = [
        registry.settings.database_url,
        *(s.settings.database_url for s in syncs),
        *(url for url, _ in told),
    ]
    await nowhere(databases, SECRET)
    for sync in syncs:
        await stands(sync, registry.node, "1.6")
    assert (await agree(*syncs))["count"] == 1
    status, problem, _ = await syncs[0].call("GET", f"/places/{gone['id']}")
    assert (status, problem["reason"]) == (410, "erased")
    status, problem, _ = await registry.call("GET", f"/places/{gone['id']}")
    assert (status, problem["reason"]) == (410, "erased")
    assert SECRET.encode() not in await registry.get("/exports/places.csv")
    history = await registry.get(f"/places/{gone['id']}/history")
    assert [v["erased"] for v in history["versions"]] == [True, True, False]
    for _, url in told:
        last = [c for c in await changes(federation, url) if c["id"] == gone["id"]][-1]
        assert (last["view"], last["place"]) == ("erased", None)
    fresh = await federation.sync([registry])
    await stands(fresh, registry.node, "1.6")
    await agree(*syncs, fresh)
    assert (await registry.get(f"/places/{kept['id']}"))["place"]["name"] == "Reste"


async def test_an_erased_record_never_comes_back(registry: Registry) -> None:
    """No change, no reopening, no list brings it back; an erased id is not given again."""
    place = await registry.add(name=SECRET)
    id = place["id"].rpartition(":")[2]
    csv = f"nom;code postal;commune\nAtelier {SECRET};35600;Redon\n".encode()
    await registry.list_in(csv, source="liste")
    listed = (await registry.get("/places?q=atelier"))["places"][0]["id"]
    for record in (place["id"], listed):
        await registry.command("erase", record, "--yes")
    again = await registry.list_in(csv, source="liste")
    assert (again["counts"]["new"], again["counts"]["changed"]) == (0, 0)
    remarks = [remark["detail"] for line in again["report"] for remark in line["remarks"]]
    assert "This place was erased for good: no list brings it back." in remarks
    anything = {"If-Match": "*"}
    body = {"name": SECRET, "status": "open", "address": {"postcode": "35000"}}
    for call in (
        registry.call("PUT", f"/places/{id}", json=body, headers=anything),
        registry.call("POST", f"/places/{id}/reopen"),
        registry.call("DELETE", f"/places/{id}", headers=anything),
        registry.call("PUT", f"/places/{id}", json=body, headers={"If-None-Match": "*"}),
    ):
        status, problem, _ = await call
        assert (status, problem.get("reason")) == (410, "erased")
    twice = await registry.tried("erase", place["id"], "--yes")
    assert twice.exit_code == 2


async def test_old_versions_go_and_the_record_stays(federation: Federation, notified: Any) -> None:
    """What a place said before is erased everywhere, what it says now is untouched."""
    registry = await federation.registry()
    place = await registry.add(name="Atelier", description=f"Demandez {SECRET}")
    sync = await federation.sync([registry])
    told = [await notified(registry), await notified(sync)]
    await stands(sync, registry.node, "1.1")
    await registry.change(place["id"], description="Demandez à l'accueil")
    await stands(sync, registry.node, "1.2")
    refused = await registry.tried("erase", place["id"], "--versions", "1-2", "--yes")
    assert (refused.exit_code, "Version 2" in refused.output) == (2, True)
    await registry.command("erase", place["id"], "--versions", "1-1", "--yes")
    databases = [registry.settings.database_url, sync.settings.database_url, *(url for url, _ in told)]
    await nowhere(databases, SECRET)
    await stands(sync, registry.node, "1.4")
    shown = await sync.get(f"/places/{place['id']}")
    assert shown["place"]["description"] == "Demandez à l'accueil"
    assert (await registry.get(f"/places/{place['id']}"))["version"] == 4
    fresh = await federation.sync([registry])
    await stands(fresh, registry.node, "1.4")
    await agree(sync, fresh)
    await registry.change(place["id"], summary="encore là")
    for one in (sync, fresh):
        await stands(one, registry.node, "1.5")


async def test_an_erasure_reaches_the_other_voices_of_a_place(federation: Federation) -> None:
    """A place that two networks say is one goes on with the other voice, under the id that it had."""
    one, other = [await federation.registry() for _ in range(2)]
    a = await one.add(name=f"Chez {SECRET}", summary="la première voix", verified_on="2026-01-02")
    b = await other.add(name="Chez elle")
    await one.claim(a["id"], b["id"])
    await other.claim(b["id"], a["id"])
    sync = await federation.sync([one, other])
    await sync.caught_up([one, other])
    assert SECRET in (await sync.get(f"/places/{b['id']}"))["place"]["name"]
    await one.command("erase", a["id"], "--yes")
    await nowhere([one.settings.database_url, sync.settings.database_url], SECRET)
    await stands(sync, one.node, "1.3")
    shown = await sync.get(f"/places/{a['id']}")
    assert (shown["place"]["name"], shown["id"]) == ("Chez elle", a["id"])
    lines = [msgspec.json.decode(line) for line in (await sync.get("/feed?after=0.0")).splitlines()]
    assert any(line.get("redacted") for line in lines)
    page = proofs.page(await sync.get("/feed?after=0.0"))
    whose = identity.verified(
        [msgspec.json.decode(d, type=Signed) for d in (await sync.get("/descriptors")).splitlines()]
    )
    events, _, close = proofs.proven(page, proofs.Position(), whose)
    assert len(events) == close.size


async def test_a_new_epoch_says_again_what_was_erased(federation: Federation) -> None:
    """An epoch that cuts an erase event off does not bring the content back, and erases again first."""
    registry = await federation.registry()
    place = await registry.add(name=SECRET)
    await registry.add(name="Autre")
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.2")
    await registry.add(name="Dernier")
    await registry.command("erase", place["id"], "--yes")
    await stands(sync, registry.node, "1.4")
    await registry.key("epoch", "--at", "2")
    await stands(sync, registry.node, "2.3")
    whose = await known(registry)
    page = proofs.page(await registry.get("/feed?after=0.0"))
    events, _, _ = proofs.proven(page, proofs.Position(), whose)
    assert [e.erased.seq if e.erased else None for e in events] == [3, None, None]
    assert events[2].event is not None
    assert events[2].event.type == RECORD_ERASE
    status, problem, _ = await registry.call("GET", f"/places/{place['id']}")
    assert (status, problem["reason"]) == (410, "erased")
    fresh = await federation.sync([registry])
    await stands(fresh, registry.node, "2.3")
    assert (await agree(sync, fresh))["count"] == 1
    await nowhere([registry.settings.database_url, sync.settings.database_url], SECRET)


def hidden(i: Impostor, seq: int, by: dict[str, Any] | None, leaf: str | None = None) -> None:
    """Show an event by its leaf only."""
    line = i.lines[seq - 1]
    shown = leaf or merkle.leaf(line["raw"].encode()).hex()
    i.lines[seq - 1] = {"redacted": True, "seq": seq, "leaf": shown} | ({"by": by} if by else {})


async def test_what_an_epoch_cut_off_is_erased_as_well(federation: Federation) -> None:
    """A version, or a whole record, that stands in no log any more can be erased where it was put aside."""
    registry = await federation.registry()
    kept = await registry.add(name="Premier")
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.1")
    gone = await registry.add(name=SECRET)
    await registry.change(kept["id"], summary=f"chez {SECRET}")
    await stands(sync, registry.node, "1.3")
    await registry.key("epoch", "--at", "1")
    await stands(sync, registry.node, "2.1")
    databases = [service.settings.database_url for service in (registry, sync)]
    assert all([await holds(url, SECRET) for url in databases])
    for record in (gone, kept):
        await registry.command("erase", record["id"], "--yes")
    await nowhere(databases, SECRET)
    await stands(sync, registry.node, "2.3")


async def test_an_erasure_that_an_epoch_cut_off_is_said_again(federation: Federation) -> None:
    """Though all that it named was cut off with it: who has not heard of it holds that still."""
    registry = await federation.registry()
    await registry.add(name="Premier")
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.1")
    gone = await registry.add(name=SECRET)
    await stands(sync, registry.node, "1.2")
    await sync.stop()
    await registry.command("erase", gone["id"], "--yes")
    await registry.key("epoch", "--at", "1")
    await sync.start()
    await stands(sync, registry.node, "2.2")
    await nowhere([service.settings.database_url for service in (registry, sync)], SECRET)
    await registry.key("epoch")
    await stands(sync, registry.node, "3.2")


async def test_who_was_away_for_too_long_forgets_all_the_same(federation: Federation) -> None:
    """Where erase events may have been missed, a sync shows nothing that it does not hold from then on."""
    registry = await federation.registry()
    place = await registry.add(name=SECRET)
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.1")
    await registry.add(name=f"Atelier {SECRET}")
    await stands(sync, registry.node, "1.2")
    await registry.key("epoch", "--at", "1")
    await stands(sync, registry.node, "2.1")
    await sync.stop()
    await registry.change(place["id"], name="Lieu rebaptisé")
    await registry.command("erase", place["id"], "--versions", "1-1", "--yes")
    for _ in range(3):
        await registry.add()
    async with database(registry) as conn, conn.transaction():
        assert await ledger_epochs.let_go(conn, 1)
    await sync.start()
    await stands(sync, registry.node, "2.7")
    await nowhere([sync.settings.database_url], SECRET)
    fresh = await federation.sync([registry])
    await agree(sync, fresh)


def erase_of(i: Impostor, seq: int) -> bytes:
    """The erase event of an event's record."""
    raw = i.lines[seq - 1]["raw"]
    leaves = [merkle.leaf(raw.encode()).hex()]
    return i.event(subject=i.subjects[raw], type=RECORD_ERASE, text=msgspec.json.encode({"leaves": leaves}))


def test_what_is_hidden_without_its_erase_event_is_refused() -> None:
    """No erase event, one of another leaf, of another record's owner, unsigned, or no erase event at all: untrue."""

    def page_of(i: Impostor) -> proofs.Page:
        lines = [*i.lines[:2], {"checkpoint": close}]
        return proofs.page(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    for lie in ("nothing", "other leaf", "unsigned", "a put", "good"):
        i = Impostor("faux")
        i.say()
        i.say()
        close = i.checkpoint()
        raw = erase_of(i, 1 if lie != "other leaf" else 2)
        by = i.signed(raw, signing.EVENT)
        if lie == "unsigned":
            by = {**by, "sig": "A" * 86}
        if lie == "a put":
            by = i.signed(i.event(), signing.EVENT)
        hidden(i, 1, None if lie == "nothing" else by)
        whose = identity.verified(i.chain)
        if lie == "good":
            events, _, _ = proofs.proven(page_of(i), proofs.Position(), whose)
            assert events[0].erased is not None
            continue
        with pytest.raises(Untrue) as untrue:
            proofs.proven(page_of(i), proofs.Position(), whose)
        assert "hidden" in untrue.value.detail or "signature" in untrue.value.detail, lie


async def test_an_erase_event_that_never_comes_breaks_its_node(federation: Federation) -> None:
    """Who hides an event by an erase event that the log does not have is broken at the end of the log."""
    async with served([Impostor("cachottier")]) as impostors:
        i = impostors["cachottier"]
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, {"cachottier": ("live", "1.0")})
        i.say()
        i.say()
        # Signed, numbered, and never written.
        by = i.signed(erase_of(i, 1), signing.EVENT)
        tree, latest = i.tree(), i.latest()
        i.tree, i.latest = lambda: tree, lambda: latest  # type: ignore[method-assign]
        hidden(i, 1, by)
        await all_stand(sync, impostors, {"cachottier": ("broken", "1.2")})
        assert "hidden" in (await sync.networks())[i.node]["trouble"]
