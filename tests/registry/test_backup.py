"""A backup is taken while people write, comes back whole, and brings back nothing that was erased."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from schemas.event import RECORD_ERASE, SnapshotHead
from schemas.node import Signed
from services import identity, ledger_epochs, merkle, proofs
from services.ledger import Pen
from services.postgres import Connection
from services.registry import __main__ as commands
from services.registry import app, archive, erased, saving
from tests.conftest import Federation
from tests.nodes import Registry, eventually
from tests.registry.archives import (
    again,
    backed_up,
    elsewhere,
    everything,
    feed,
    head,
    is_empty,
    lines,
    rewritten,
    root_key,
    says,
)
from tests.registry.test_commands import environ, run, said
from tests.registry.test_imports import rows, table

WRITERS, BACKUPS = (16, 20) if os.environ.get("MAILLAGE_SOAK") else (6, 3)


async def test_a_restored_node_is_the_same_node(federation: Federation, tmp_path: Path) -> None:
    """Feed, places, history, tokens, answers to repeated requests: all as they were, byte for byte."""
    registry = await federation.registry()
    await registry.list_in(table(rows(60)), source="liste")
    one = await registry.add(name="Le Mitan")
    await registry.change(one["id"], summary="Au bord de l'eau")
    two = await registry.add(name="La Fosse")
    await registry.withdraw(two["id"])
    await registry.claim(one["id"], two["id"], "distinct")
    body, key = (
        {"name": "Une fois", "status": "open", "address": {"postcode": "35000"}},
        {"Idempotency-Key": "k-1"},
    )
    _, first, _ = await registry.call("POST", "/places", json=body, headers=key)
    file = await backed_up(registry, tmp_path / "node.gz")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [f for f in tmp_path.iterdir() if f.name.startswith(".")] == []
    before = (
        await feed(registry),
        await registry.get("/exports/places.ndjson"),
        await registry.get("/checkpoint"),
    )
    history = await registry.get(f"/places/{one['id']}/history")
    await registry.stop()
    settings = await elsewhere(federation, registry, key_dir=str(tmp_path / "other-keys"))
    done = await run(settings, "restore", str(file))
    assert done.exit_code == 0, said(done)
    assert "key epoch --root-key FILE" in said(done)
    twin = await again(federation, registry, settings).start()
    assert isinstance(twin, Registry)
    after = await feed(twin), await twin.get("/exports/places.ndjson"), await twin.get("/checkpoint")
    assert after == before
    assert await twin.get(f"/places/{one['id']}/history") == history
    assert (await run(settings, "key", "epoch", "--root-key", root_key(registry))).exit_code == 0
    status, repeated, _ = await twin.call("POST", "/places", json=body, headers=key)
    assert (status, repeated["id"]) == (201, first["id"])
    status, written, _ = await twin.call("POST", "/places", json={**body, "name": "Après"})
    assert (status, written["cursor"].split(".")[0]) == (201, "2")


async def test_nothing_is_torn_while_people_write(federation: Federation, tmp_path: Path) -> None:
    """Backups taken under many writers: each is one moment, whose roots its restored log has."""
    registry = await federation.registry()
    await registry.list_in(table(rows(200)), source="liste")
    over = asyncio.Event()

    async def write() -> int:
        count = 0
        while not over.is_set():
            made = await registry.add()
            await registry.change(made["id"], summary=f"Texte {count}")
            count += 2
        return count

    writers = [asyncio.create_task(write()) for _ in range(WRITERS)]
    sizes = []
    for n in range(BACKUPS):
        file = await backed_up(registry, tmp_path / f"{n}.gz")
        settings = await elsewhere(federation, registry)
        done = await run(settings, "restore", "--same-epoch", str(file))
        assert done.exit_code == 0, said(done)
        manifest = lines(file)[0]
        close = json.loads(manifest["checkpoint"]["raw"])
        rows_ = await everything(settings.database_url)
        assert len(rows_["ledger_event"]) == close["size"] == manifest["size"]
        assert len(rows_["place"]) == close["count"]
        sizes.append(close["size"])
    over.set()
    written = sum(await asyncio.gather(*writers))
    # They did write meanwhile, and each backup saw more of it.
    assert written > BACKUPS
    assert sizes == sorted(set(sizes))


async def test_a_restored_log_waits_for_the_root_key(federation: Federation, tmp_path: Path) -> None:
    """Until a new epoch is signed, writing answers 503 with the command, and all reading goes on."""
    registry = await federation.registry()
    place = await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", str(file))).exit_code == 0
    twin = again(federation, registry, settings)
    await twin.start()
    status, problem, _ = await twin.call("POST", "/places", json={**place["place"], "name": "Non"})
    assert (status, problem["type"]) == (503, "urn:maillage:problem:on-hold")
    assert problem["command"] == "python -m services.registry key epoch --root-key FILE"
    assert problem["command"] in problem["detail"]
    assert (await twin.get("/readyz"))["log"] == "on hold: restored"
    for path in (f"/places/{place['id']}", "/feed", "/snapshot", "/checkpoint", "/exports/places.csv"):
        await twin.get(path)
    # A list waits too, and is read when the log goes on.
    status, job, _ = await twin.call(
        "POST", "/imports?mode=apply&source=l", data=table(rows(3)), headers={"Content-Type": "text/csv"}
    )
    assert status == 202
    assert (await run(settings, "key", "epoch", "--root-key", root_key(registry))).exit_code == 0
    assert (await twin.add())["cursor"].startswith("2.")

    async def ended() -> bool:
        return bool((await twin.call("GET", f"/imports/{job['id']}"))[1]["state"] == "done")

    await eventually(ended, 60)
    assert (await twin.get("/readyz"))["log"] == "ok"


async def test_a_root_key_at_hand_opens_the_epoch_at_once(federation: Federation, tmp_path: Path) -> None:
    """restore --root-key goes on in a new epoch whose reason everybody can read."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    settings = await elsewhere(federation, registry)
    done = await run(settings, "restore", str(file), "--root-key", root_key(registry))
    assert "epoch 2" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    descriptor = msgspec.json.decode((await twin.get("/.well-known/maillage"))["raw"])
    assert descriptor["epochs"][-1]["reason"] == "restored"
    assert descriptor["epochs"][-1]["base"]["size"] == 1
    await twin.add()


async def test_signatures_of_an_idle_node_are_not_repeated(federation: Federation, tmp_path: Path) -> None:
    """Going on in the same epoch leaves out the numbers that heartbeats may have used since the backup."""
    registry = await federation.registry(heartbeat_s=1)
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    before = await head(registry)

    async def beaten() -> Any:
        now = await head(registry)
        return now if now["n"] > before["n"] + 1 else None

    later = await eventually(beaten)
    await registry.stop()
    settings = await elsewhere(federation, registry)
    done = await run(settings, "restore", "--same-epoch", str(file))
    assert "same epoch" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    now = await head(twin)
    assert (now["epoch"], now["size"], now["log_root"]) == (1, later["size"], later["log_root"])
    assert now["n"] > later["n"]


async def test_a_database_with_a_node_is_left_alone(federation: Federation, tmp_path: Path) -> None:
    """Restoring over a node is refused, whichever it is, and changes nothing."""
    registry, other = await federation.registry(), await federation.registry(start=False)
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    for settings in (registry.settings, other.settings):
        before = await everything(settings.database_url)
        keys = sorted(Path(settings.key_dir).iterdir())
        done = await run(settings, "restore", str(file))
        assert done.exit_code == 2
        assert "already" in said(done)
        assert await everything(settings.database_url) == before
        assert sorted(Path(settings.key_dir).iterdir()) == keys


def _raw(found: list[dict[str, Any]]) -> None:
    event = next(line for line in found if line["line"] == "event")
    event["raw"] = event["raw"].replace("Lieu", "Leiu")


def _signature(found: list[dict[str, Any]]) -> None:
    one, two = [line for line in found if line["line"] == "event"][:2]
    one["sig"], two["sig"] = two["sig"], one["sig"]


def _hole(found: list[dict[str, Any]]) -> None:
    found.remove([line for line in found if line["line"] == "event"][1])


def _end(found: list[dict[str, Any]]) -> None:
    found.remove([line for line in found if line["line"] == "event"][-1])


def _order(found: list[dict[str, Any]]) -> None:
    at = [n for n, line in enumerate(found) if line["line"] == "event"]
    found[at[0]], found[at[1]] = found[at[1]], found[at[0]]


def _chain(found: list[dict[str, Any]]) -> None:
    descriptor = next(line for line in found if line["line"] == "descriptor")
    descriptor["raw"] = descriptor["raw"].replace("Réseau", "Raseau")


def _checkpoint(found: list[dict[str, Any]]) -> None:
    found[0]["checkpoint"]["raw"] = found[0]["checkpoint"]["raw"].replace('"size":3', '"size":4')


def _size(found: list[dict[str, Any]]) -> None:
    found[0]["size"] = 2


def _key(found: list[dict[str, Any]]) -> None:
    key = next(line for line in found if line["line"] == "key")
    key["kid"] = "0" * 16


def _newer(found: list[dict[str, Any]]) -> None:
    found[0]["format"] = 2


def _later(found: list[dict[str, Any]]) -> None:
    found[0]["migrations"].append("registry/9999_later")


def _unknown(found: list[dict[str, Any]]) -> None:
    found.append({"line": "row", "table": "pg_authid", "row": {"rolname": "x"}})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_raw, "line"),
        (_signature, "line"),
        (_hole, "line"),
        (_end, "does not prove"),
        (_order, "line"),
        (_chain, "line"),
        (_checkpoint, "does not prove"),
        (_size, "does not prove"),
        (_key, "damaged"),
        (_newer, "newer"),
        (_later, "newer"),
        (_unknown, "newer"),
    ],
)
async def test_a_file_that_does_not_prove_is_refused(
    federation: Federation, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], told: str
) -> None:
    """Whatever was changed in a file, though its own sum fits: nothing of it comes in."""
    registry = await federation.registry()
    for _ in range(3):
        await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    rewritten(file, change)
    settings = await elsewhere(federation, registry, key_dir=str(tmp_path / "other-keys"))
    done = await run(settings, "restore", str(file))
    assert done.exit_code == 2
    assert told in said(done)
    assert await is_empty(settings.database_url)
    assert list(Path(settings.key_dir).glob("*")) == []


async def test_a_damaged_or_cut_file_is_refused(federation: Federation, tmp_path: Path) -> None:
    """One byte that is wrong, an end that is missing, another program's file: refused, wherever it is."""
    registry = await federation.registry()
    for _ in range(3):
        await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    whole = file.read_bytes()
    text = gzip.decompress(whole)
    settings = await elsewhere(federation, registry, key_dir=str(tmp_path / "other-keys"))
    found = text.splitlines(keepends=True)
    broken = {
        "half": whole[: len(whole) // 2],
        "no end": whole[:-1],
        "no last line": gzip.compress(b"".join(found[:-1])),
        "cut line": gzip.compress(text[:-10]),
        "more": gzip.compress(text + found[1]),
        "no rows": gzip.compress(b"".join(line for line in found if b'"row"' not in line[:20])),
        "other program": gzip.compress(b'{"hello": 1}\n'),
        "no gzip": b"PGDMP not ours",
        "empty": b"",
    }
    for at in (len(whole) // 3, len(whole) // 2, len(whole) - 6):
        broken[f"byte {at}"] = whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :]
    for name, body in broken.items():
        file.write_bytes(body)
        done = await run(settings, "restore", str(file))
        assert (name, done.exit_code) == (name, 2)
        assert said(done).strip(), name
        assert await is_empty(settings.database_url), name
    assert list(Path(settings.key_dir).glob("*")) == []
    missing = await run(settings, "restore", str(tmp_path / "nowhere.gz"))
    assert (missing.exit_code, "nowhere.gz" in said(missing)) == (2, True)
    file.write_bytes(whole)
    assert (await run(settings, "restore", str(file))).exit_code == 0


async def test_a_key_is_never_overwritten(federation: Federation, tmp_path: Path) -> None:
    """A key in the folder that is not the one of the file stops the restoring; the same one is no matter."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    (key,) = (line for line in lines(file) if line["line"] == "key")
    settings = await elsewhere(federation, registry, key_dir=str(tmp_path / "other-keys"))
    there = Path(settings.key_dir) / f"{key['kid']}.key"
    there.parent.mkdir()
    there.write_text("something else")
    assert (await run(settings, "restore", str(file))).exit_code == 2
    assert there.read_text() == "something else"
    assert await is_empty(settings.database_url)
    there.write_text(key["file"])
    assert (await run(settings, "restore", str(file))).exit_code == 0
    assert there.read_text() == key["file"]


async def test_a_backup_that_fails_leaves_the_last_one(federation: Federation, tmp_path: Path) -> None:
    """A file is replaced by a whole one or not at all, and no remains lie about."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    before = file.read_bytes()
    strange = Path(registry.settings.key_dir) / "broken.key"
    strange.mkdir()
    failed = await run(registry.settings, "backup", str(file))
    assert failed.exit_code != 0
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir() if "node.gz" in f.name] == ["node.gz"]
    strange.rmdir()
    await registry.add()
    assert (await backed_up(registry, file)).read_bytes() != before


async def test_a_backup_goes_through_a_pipe(federation: Federation, tmp_path: Path) -> None:
    """`-` writes to standard output and reads from standard input, and nothing else is printed there."""
    registry = await federation.registry()
    await registry.add()
    written = await run(registry.settings, "backup", "-")
    assert written.exit_code == 0
    settings = await elsewhere(federation, registry)
    read = await asyncio.to_thread(
        CliRunner().invoke,
        commands.main,
        ["restore", "-", "--same-epoch"],
        env=environ(settings),
        input=written.stdout_bytes,
    )
    assert read.exit_code == 0, said(read)
    assert len((await everything(settings.database_url))["ledger_event"]) == 1


async def erase(registry: Registry, record: str, *options: str) -> None:
    """Erase on the command line."""
    done = await run(registry.settings, "erase", record, "--yes", *options)
    assert done.exit_code == 0, said(done)


@pytest.mark.parametrize("onward", ["root key", "same epoch"])
async def test_a_backup_brings_nothing_erased_back(
    federation: Federation, tmp_path: Path, onward: str
) -> None:
    """What was erased after a backup is nowhere in the restored database, and is said to be erased again."""
    registry = await federation.registry()
    secret, old = "Chez Germaine Dupuis", "Ancienne adresse de Paul"
    listed = rows(5)
    listed[2]["Nom du lieu"] = secret
    listed[2]["Présentation"] = secret + "!" * 300
    await registry.list_in(table(listed), source="liste")
    (erring,) = [
        p for p in (await registry.get("/places?limit=100"))["places"] if p["place"]["name"] == secret
    ]
    kept = await registry.add(name="Lieu gardé", summary=old)
    await registry.change(kept["id"], summary="Autre chose")
    file = await backed_up(registry, tmp_path / "node.gz")
    assert await says(registry.settings.database_url, secret) != []
    await erase(registry, erring["id"])
    await erase(registry, kept["id"], "--versions", "1-1")
    await registry.add(name="Après")
    assert await says(registry.settings.database_url, secret) == []
    await registry.stop()
    assert len(erased.read(Path(registry.settings.key_dir))) == 2

    settings = await elsewhere(federation, registry)
    options = ["--root-key", root_key(registry)] if onward == "root key" else ["--same-epoch"]
    done = await run(settings, "restore", str(file), *options)
    assert done.exit_code == 0, said(done)
    for text in (secret, old):
        assert await says(settings.database_url, text) == []
    twin = again(federation, registry, settings)
    await twin.start()
    assert (await twin.call("GET", f"/places/{erring['id']}"))[0] == 410
    assert (await twin.get(f"/places/{kept['id']}"))["place"]["summary"] == "Autre chose"
    found = [msgspec.json.decode(line) for line in await feed(twin)]
    again_ = [json.loads(line["raw"]) for line in found if "raw" in line and RECORD_ERASE in line["raw"]]
    assert {e["subject"] for e in again_} == {erring["id"], kept["id"]}
    hidden = {line["leaf"]: line["by"]["raw"] for line in found if line.get("redacted")}
    assert len(hidden) == 2
    # What a reader is shown as the reason stands in the present log.
    assert set(hidden.values()) <= {line["raw"] for line in found if "raw" in line}
    # Every list is refused what it said, and hand-made values stay.
    await twin.list_in(table(listed), source="liste")
    assert await says(settings.database_url, secret) in ([], ["import_chunk", "import_line"], ["import_line"])


async def test_while_a_log_waits_nothing_erased_is_shown(federation: Federation, tmp_path: Path) -> None:
    """Even before the erase events can be said again, the content is not there."""
    registry = await federation.registry()
    secret = "Chez Germaine Dupuis"
    place = await registry.add(name=secret)
    file = await backed_up(registry, tmp_path / "node.gz")
    await erase(registry, place["id"])
    await registry.stop()
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", str(file))).exit_code == 0
    assert await says(settings.database_url, secret) == []
    twin = again(federation, registry, settings)
    await twin.start()
    assert (await twin.call("GET", f"/places/{place['id']}"))[0] == 410
    (line,) = await feed(twin)
    assert msgspec.json.decode(line)["redacted"] is True
    assert (await run(settings, "key", "epoch", "--root-key", root_key(registry))).exit_code == 0
    assert len(await feed(twin)) == 2


async def test_a_later_backup_knows_what_was_erased_itself(federation: Federation, tmp_path: Path) -> None:
    """A backup taken after an erasure holds no content and its proof, also where the folder of keys is new."""
    registry = await federation.registry()
    secret = "Chez Germaine Dupuis"
    place = await registry.add(name=secret)
    early = await backed_up(registry, tmp_path / "early.gz")
    await erase(registry, place["id"])
    late = await backed_up(registry, tmp_path / "late.gz")
    assert secret not in gzip.decompress(late.read_bytes()).decode()
    before = await feed(registry)
    await registry.stop()
    folder = str(tmp_path / "new-keys")
    settings = await elsewhere(federation, registry, key_dir=folder)
    assert (await run(settings, "restore", "--same-epoch", str(late))).exit_code == 0
    twin = again(federation, registry, settings)
    await twin.start()
    assert await feed(twin) == before
    # The new folder has learned it: an older backup brings nothing back there either.
    older = await elsewhere(federation, registry, key_dir=folder)
    assert (await run(older, "restore", str(early))).exit_code == 0
    assert await says(older.database_url, secret) == []


async def test_an_erasure_that_failed_does_no_harm(federation: Federation, tmp_path: Path) -> None:
    """A line whose transaction failed is no reason to lose a place that the backup shows in force after it."""
    registry = await federation.registry()
    place = await registry.add(name="Toujours là")
    await erase(registry, (await registry.add(name="Parti"))["id"])
    folder = Path(registry.settings.key_dir)
    # As if the erasure of the other one had been tried at that very number, and the power had gone.
    (line,) = [json.loads(text) for text in (folder / erased.NAME).read_text().splitlines()]
    (event,) = [json.loads(text)["raw"] for text in (await feed(registry))[:1]]
    raw = json.loads(line["raw"])
    raw["subject"] = place["id"]
    raw["data"]["leaves"] = [merkle.leaf(event.encode()).hex()]
    tried = {**line, "record": raw["subject"], "raw": json.dumps(raw)}
    with (folder / erased.NAME).open("a") as file:
        file.write(json.dumps(tried) + "\n" + '{"record": "torn')
    await registry.add()
    backup = await backed_up(registry, tmp_path / "node.gz")
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", "--same-epoch", str(backup))).exit_code == 0
    twin = again(federation, registry, settings)
    await registry.stop()
    await twin.start()
    assert (await twin.get(f"/places/{place['id']}"))["place"]["name"] == "Toujours là"
    # The torn line is gone with the next one that is written, and that one can be read.
    await erase(twin, (await twin.add(name="Parti aussi"))["id"])
    assert len(erased.read(folder)) == 3


async def test_values_made_by_hand_stay_after_a_restore(federation: Federation, tmp_path: Path) -> None:
    """The restored registry still knows what a list said last: the next list overwrites no correction."""
    registry = await federation.registry()
    await registry.list_in(table(rows(3)), source="liste")
    place = (await registry.get("/places?limit=1"))["places"][0]
    await registry.change(place["id"], summary="Corrigé à la main")
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", "--same-epoch", str(file))).exit_code == 0
    twin = again(federation, registry, settings)
    await twin.start()
    job = await twin.list_in(table(rows(3)), source="liste")
    assert job["counts"]["unchanged"] == 3
    assert (await twin.get(f"/places/{place['id']}"))["place"]["summary"] == "Corrigé à la main"


async def test_a_log_with_a_floor_comes_back(federation: Federation, tmp_path: Path) -> None:
    """Where old events were let go, what remains still proves, and readers begin where they must."""
    registry = await federation.registry()
    place = await registry.add()
    for n in range(30):
        await registry.change(place["id"], summary=f"Texte {n}")
    async with app.database(registry.settings) as pool, pool.acquire() as conn, conn.transaction():
        assert await ledger_epochs.let_go(conn, 5)
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.stop()
    settings = await elsewhere(federation, registry)
    done = await run(settings, "restore", "--same-epoch", str(file))
    assert done.exit_code == 0, said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    assert (await twin.call("GET", "/feed?after=1.3"))[0] == 410
    page = proofs.page(await twin.get("/feed?after=1.26"))
    chain = [msgspec.json.decode(x, type=Signed) for x in (await twin.get("/descriptors")).splitlines()]
    snapshot = (await twin.get("/snapshot")).splitlines()
    there, _ = proofs.snapshot(msgspec.json.decode(snapshot[0], type=SnapshotHead), identity.verified(chain))
    assert (there.tree.size, len(page.lines)) == (32, 6)


async def test_what_comes_after_its_moment_is_not_in_a_backup(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that are written as soon as the head is free again, before anything was read, are left to the next one."""
    registry = await federation.registry()
    await registry.add()
    first, written = saving._manifest, []

    async def late(conn: Connection, moment: saving.Moment, pen: Pen) -> archive.Manifest:
        written.append(await registry.add())
        return await first(conn, moment, pen)

    monkeypatch.setattr(saving, "_manifest", late)
    file = tmp_path / "node.gz"
    async with app.database(registry.settings) as pool:
        with archive.written(file) as opened:
            pen, sink = app.pen_of(registry.settings), archive.Sink(opened)
            await saving.save(pool, pen, saving.present, sink, lambda done, total: None)
    assert [one["cursor"] for one in written] == ["1.2"]
    assert sum(line["line"] == "event" for line in lines(file)) == 1
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", str(file))).exit_code == 0
