"""The federation is the backup: a registry takes back from witnesses what it lost, and nothing that is not its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog

from schemas.event import RECORD_ERASE
from services.registry import erased, recovering
from tests.conftest import Federation
from tests.nodes import Registry, eventually
from tests.registry.archives import again, backed_up, elsewhere, everything, feed, head, root_key, says
from tests.registry.test_backup import erase
from tests.registry.test_commands import run, said
from tests.registry.test_imports import rows, table
from tests.registry.witnesses import Witness


@pytest.fixture
async def witness() -> AsyncIterator[Witness]:
    """A witness that has seen nothing yet."""
    async with Witness().serving() as made:
        yield made


async def signed(registry: Registry) -> Any:
    """The full checkpoint of all that the registry has."""
    size = len(await feed(registry))

    async def full() -> Any:
        now = await head(registry)
        return now if now["size"] == size else None

    return await eventually(full)


async def lost(
    federation: Federation, registry: Registry, file: Path, *witnesses: str, **settings: Any
) -> Registry:
    """The registry as its database was at a backup, with witnesses in its settings, not yet started."""
    await registry.stop()
    chosen = await elsewhere(federation, registry, witnesses=witnesses, **settings)
    quiet = msgspec.structs.replace(chosen, witnesses=())
    # An operator who restores by hand and tells nobody: the log believes that it is whole.
    done = await run(quiet, "restore", "--same-epoch", str(file))
    assert done.exit_code == 0, said(done)
    return again(federation, registry, chosen)


async def test_lost_events_come_back(federation: Federation, witness: Witness, tmp_path: Path) -> None:
    """restore fetches what was written after the backup: same bytes, same numbers, same epoch, no root key."""
    registry = await federation.registry()
    place = await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.change(place["id"], summary="Après la sauvegarde")
    other = await registry.add(name="Nouveau lieu")
    gone = await registry.add()
    await registry.withdraw(gone["id"])
    await registry.claim(place["id"], other["id"], "distinct")
    before = await signed(registry)
    await witness.look(registry)
    events = await feed(registry)
    await registry.stop()
    settings = await elsewhere(federation, registry, witnesses=(witness.url,))
    done = await run(settings, "restore", str(file))
    assert done.exit_code == 0, said(done)
    assert "same epoch" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    assert await feed(twin) == events
    now = await head(twin)
    keys = ("epoch", "size", "log_root", "state_root", "count")
    assert {k: now[k] for k in keys} == {k: before[k] for k in keys}
    assert now["n"] > before["n"] + recovering.MARGIN
    assert (await twin.get(f"/places/{place['id']}"))["place"]["summary"] == "Après la sauvegarde"
    assert (await twin.call("GET", f"/places/{gone['id']}"))[0] == 410
    assert len((await twin.get("/claims"))["claims"]) == 1
    assert (await twin.add())["cursor"] == f"1.{before['size'] + 1}"


async def test_a_node_that_lost_its_end_notices_at_start(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """Nobody told it: before it serves, it asks, and has taken everything back when it answers."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.list_in(table(rows(1500)), source="liste")
    before = await signed(registry)
    await witness.look(registry)
    twin = await lost(federation, registry, file, witness.url)
    await twin.start()
    await eventually(lambda: reaches(twin, before["size"]))
    # Two pages were needed at least.
    assert witness.asked.count(f"/observed/{registry.node}/feed") >= 2
    assert (await head(twin))["state_root"] == before["state_root"]


async def reaches(registry: Registry, size: int) -> bool:
    """Whether the log has this many events."""
    return bool((await head(registry))["size"] >= size)


async def test_while_a_witness_is_away_a_region_waits_for_nobody(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """Witnesses that are slow, away or nonsense hold up a start by three seconds at most, and stop no writing."""
    witness.pause = 60
    async with Witness().serving() as nonsense:
        nonsense.seen = [{"hello": 1}]
        urls = (witness.url, nonsense.url, "http://127.0.0.1:1")
        registry = await federation.registry(start=False, witnesses=urls)
        started = monotonic()
        await registry.start()
        assert monotonic() - started < 30
        assert witness.asked
        assert nonsense.asked
        await registry.add()


async def test_a_witness_that_agrees_lifts_the_hold(
    federation: Federation, witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored log on hold goes on by itself once a witness says that nothing is missing; not before."""
    monkeypatch.setattr(recovering, "ON_HOLD", 0.2)
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await signed(registry)
    looked = Witness()
    await looked.look(registry)
    await registry.stop()
    settings = await elsewhere(federation, registry, witnesses=(witness.url,))
    done = await run(settings, "restore", str(file))
    # It was asked, and knows nothing of us: that is no agreement.
    assert witness.asked == ["/observed"]
    assert "key epoch" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    assert (await twin.get("/readyz"))["log"] == "on hold: restored"
    witness.seen, witness.node = looked.seen, looked.node

    async def lifted() -> bool:
        return bool((await twin.get("/readyz"))["log"] == "ok")

    await eventually(lifted)
    assert (await twin.add())["cursor"] == "1.2"


async def test_signatures_that_only_a_witness_saw_are_not_repeated(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """Nothing but heartbeats was lost: their numbers are left out all the same."""
    registry = await federation.registry(heartbeat_s=1)
    await registry.add()
    first = await signed(registry)
    file = await backed_up(registry, tmp_path / "node.gz")

    async def beaten() -> bool:
        return bool((await head(registry))["n"] > first["n"] + 1)

    await eventually(beaten)
    await witness.look(registry)
    twin = await lost(federation, registry, file, witness.url)
    conn = await asyncpg.connect(twin.settings.database_url)
    await conn.execute("DELETE FROM ledger_checkpoint WHERE n > $1", first["n"])
    await conn.execute("UPDATE ledger_head SET n = $1", first["n"])
    await conn.close()
    await twin.start()
    now = await head(twin)
    assert now["n"] > witness.seen[0]["n"] + recovering.MARGIN
    assert (now["epoch"], now["size"]) == (1, 1)


async def test_another_log_under_our_signature_stops_writing(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """A log that went on otherwise than a witness saw is contradicted: it is read, and a new epoch heals it."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.add(name="Première suite")
    await signed(registry)
    await witness.look(registry)
    twin = await lost(federation, registry, file)
    await twin.start()
    await twin.add(name="Autre suite")
    await twin.add(name="Encore une")
    await twin.stop()
    twin = again(federation, twin, msgspec.structs.replace(twin.settings, witnesses=(witness.url,)))
    with structlog.testing.capture_logs() as logs:
        await twin.start()
    (told,) = [line for line in logs if line["event"] == "contradicted"]
    assert told["common"] == "1"
    status, problem, _ = await twin.call(
        "POST", "/places", json={"name": "Non", "address": {"postcode": "35000"}, "status": "open"}
    )
    assert (status, problem["reason"]) == (503, "contradicted")
    await twin.get("/feed")
    assert "--at" in problem["command"]
    blind = await run(twin.settings, "key", "epoch", "--root-key", root_key(registry))
    assert (blind.exit_code, "--at" in said(blind)) == (2, True)
    root = root_key(registry)
    assert (await run(twin.settings, "key", "epoch", "--at", "1", "--root-key", root)).exit_code == 0
    assert (await twin.add())["cursor"] == "2.2"


async def test_a_longer_log_that_is_not_ours_is_not_taken(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """Ours went on otherwise and is shorter: the events of the witness do not continue it, and none comes in."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    for _ in range(3):
        await registry.add()
    await signed(registry)
    await witness.look(registry)
    twin = await lost(federation, registry, file)
    await twin.start()
    await twin.add(name="Autre suite")
    mine = await feed(twin)
    await twin.stop()
    twin = again(federation, twin, msgspec.structs.replace(twin.settings, witnesses=(witness.url,)))
    with structlog.testing.capture_logs() as logs:
        await twin.start()
    (told,) = [line for line in logs if line["event"] == "contradicted"]
    assert told["common"] == "1"
    assert (await twin.get("/readyz"))["log"] == "on hold: contradicted"
    assert await feed(twin) == mine


def _altered(line: bytes) -> bytes:
    return line.replace(b"Lieu", b"Leiu")


def _hidden(line: bytes) -> bytes:
    event = msgspec.json.decode(line)
    raw = msgspec.json.decode(event["raw"])
    return msgspec.json.encode({"redacted": True, "seq": int(raw["sequence"]), "leaf": "0" * 64})


def _nothing(line: bytes) -> bytes:
    return b"{}"


@pytest.mark.parametrize("change", [_altered, _hidden, _nothing])
async def test_a_witness_that_lies_gives_nothing(
    federation: Federation, witness: Witness, tmp_path: Path, change: Any
) -> None:
    """Events that we did not sign stay out; that some are lost is believed, as we signed that."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    for _ in range(3):
        await registry.add()
    await signed(registry)
    await witness.look(registry)
    witness.change = change
    twin = await lost(federation, registry, file, witness.url)
    with structlog.testing.capture_logs() as logs:
        await twin.start()
    assert witness.asked.count(f"/observed/{registry.node}/feed") >= 1
    assert [line for line in logs if line["event"] == "lost"]
    assert (await twin.get("/readyz"))["log"] == "on hold: restored"
    assert len(await feed(twin)) == 1
    # An honest one has them, and the same node goes on.
    async with Witness().serving() as honest:
        honest.seen, honest.lines, honest.node = witness.seen, witness.lines, witness.node
        await twin.stop()
        both = msgspec.structs.replace(twin.settings, witnesses=(honest.url,))
        twin = again(federation, twin, both)
        await twin.start()
        assert len(await feed(twin)) == 4
        assert (await twin.get("/readyz"))["log"] == "ok"


async def test_a_checkpoint_that_we_did_not_sign_is_nothing(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """No witness can stop a registry with words that are not its own."""
    registry = await federation.registry()
    await registry.add()
    await signed(registry)
    await witness.look(registry)
    checkpoint = witness.seen[0]["checkpoint"]
    checkpoint["raw"] = checkpoint["raw"].replace('"size":1', '"size":9')
    await registry.stop()
    registry = again(
        federation, registry, msgspec.structs.replace(registry.settings, witnesses=(witness.url,))
    )
    with structlog.testing.capture_logs() as logs:
        await registry.start()
    assert [line for line in logs if line["event"] == "no witness"]
    await registry.add()


async def test_what_was_erased_stays_erased(federation: Federation, witness: Witness, tmp_path: Path) -> None:
    """The folder of keys is lost, the backup holds the content, the witness knows that it is erased: it stays away."""
    registry = await federation.registry()
    secret = "Chez Germaine Dupuis"
    first = await registry.add(name=secret)
    file = await backed_up(registry, tmp_path / "node.gz")
    later = await registry.add(name=secret + " bis")
    await registry.change(later["id"], summary=secret)
    await erase(registry, first["id"])
    await erase(registry, later["id"])
    await registry.add(name="Après")
    await signed(registry)
    await witness.look(registry)
    assert sum(b'"redacted"' in line for line in witness.lines) == 3
    events = await feed(registry)
    await registry.stop()
    folder = tmp_path / "new-keys"
    settings = await elsewhere(federation, registry, key_dir=str(folder), witnesses=(witness.url,))
    done = await run(settings, "restore", str(file))
    assert "same epoch" in said(done)
    assert await says(settings.database_url, secret) == []
    assert len(erased.read(folder)) == 2
    twin = again(federation, registry, settings)
    await twin.start()
    assert await feed(twin) == events
    assert sum(RECORD_ERASE.encode() in line and b"redacted" not in line for line in events) == 2
    for id in (first["id"], later["id"]):
        assert (await twin.call("GET", f"/places/{id}"))[0] == 410
        versions = (await twin.get(f"/places/{id}/history"))["versions"]
        assert [v["version"] for v in versions] == list(range(1, len(versions) + 1))


async def test_keys_and_epochs_since_the_backup_come_back(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """A key was changed, an epoch opened and the address moved after the backup: the witness has those words too."""
    registry = await federation.registry()
    for _ in range(4):
        await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.add(name="Coupé")
    root = root_key(registry)
    assert (await run(registry.settings, "key", "rotate", "--root-key", root)).exit_code == 0
    assert (await run(registry.settings, "key", "epoch", "--at", "3", "--root-key", root)).exit_code == 0
    await registry.add(name="Dans la deuxième époque")
    await signed(registry)
    await witness.look(registry)
    events, chain = await feed(registry), await registry.get("/descriptors")
    twin = await lost(federation, registry, file, witness.url)
    await twin.start()
    assert await feed(twin) == events
    assert await twin.get("/descriptors") == chain
    assert (await twin.add())["cursor"] == "2.5"
    # The next descriptor goes on from the last one, so that nobody sees two of one version.
    assert (await run(twin.settings, "key", "update", "--root-key", root)).exit_code == 0
    assert (await twin.get("/descriptors")).startswith(chain)


async def test_the_next_list_opens_no_place_again(
    federation: Federation, witness: Witness, tmp_path: Path
) -> None:
    """Places that a list brought after the backup are known by its rows, and those before keep what was corrected."""
    registry = await federation.registry()
    await registry.list_in(table(rows(5)), source="liste")
    corrected = (await registry.get("/places?limit=1"))["places"][0]["id"]
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.list_in(table(rows(9)), source="liste")
    await registry.change(corrected, summary="Corrigé à la main")
    await signed(registry)
    await witness.look(registry)
    twin = await lost(federation, registry, file, witness.url)
    await twin.start()
    job = await twin.list_in(table(rows(9)), source="liste")
    assert (job["counts"]["new"], job["counts"]["unchanged"]) == (0, 9)
    assert (await twin.get(f"/places/{corrected}"))["place"]["summary"] == "Corrigé à la main"


async def test_two_processes_take_back_once(federation: Federation, witness: Witness, tmp_path: Path) -> None:
    """Several processes on one database start at the same time: the events come back once."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.list_in(table(rows(100)), source="liste")
    await signed(registry)
    await witness.look(registry)
    twin = await lost(federation, registry, file, witness.url)
    twin.port = 0
    second = again(federation, twin, twin.settings)
    second.port = 0
    await asyncio.gather(twin.start(), second.start())
    await eventually(lambda: reaches(twin, 101))
    assert len((await everything(twin.settings.database_url))["ledger_event"]) == 101
    await second.add()
    await twin.add()
