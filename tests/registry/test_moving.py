"""Leaving costs nothing: a node goes on elsewhere from one file, and never in two places."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from services.registry import archive
from tests.conftest import Federation
from tests.nodes import eventually
from tests.registry.archives import (
    again,
    backed_up,
    elsewhere,
    everything,
    feed,
    head,
    is_empty,
    lines,
    root_key,
)
from tests.registry.test_commands import run, said
from tests.registry.test_imports import rows, table


async def test_a_node_goes_on_elsewhere(federation: Federation, tmp_path: Path) -> None:
    """Id, keys, history, lists, tokens and numbers go on in the same epoch; the old place only reads."""
    registry = await federation.registry()
    await registry.list_in(table(rows(20)), source="liste")
    place = await registry.add()
    file = tmp_path / "node.gz"
    done = await run(registry.settings, "export-node", str(file))
    assert done.exit_code == 0, said(done)
    status, problem, _ = await registry.call("POST", "/places", json={**place["place"], "name": "Non"})
    assert (status, problem["type"]) == (503, "urn:maillage:problem:on-hold")
    assert problem["reason"] == "moved"
    sealed, before = await head(registry), await feed(registry)
    settings = await elsewhere(
        federation, registry, key_dir=str(tmp_path / "there"), url="https://nouveau.exemple.fr"
    )
    moved = await run(settings, "import-node", str(file))
    assert moved.exit_code == 0, said(moved)
    assert registry.node in said(moved)
    await registry.stop()
    twin = again(federation, registry, settings)
    await twin.start()
    now = await head(twin)
    assert (now["epoch"], now["size"], now["n"]) == (1, sealed["size"], sealed["n"] + 1)
    assert await feed(twin) == before
    # The token of the coordinator works, and so does what lists have said.
    written = await twin.change(place["id"], summary="Ailleurs")
    assert written["cursor"] == f"1.{sealed['size'] + 1}"
    assert (await twin.list_in(table(rows(20)), source="liste"))["counts"]["unchanged"] == 20
    assert (await run(settings, "key", "update", "--root-key", root_key(registry))).exit_code == 0
    said_now = msgspec.json.decode((await twin.get("/.well-known/maillage"))["raw"])
    assert (said_now["url"], said_now["version"]) == ("https://nouveau.exemple.fr", 2)


async def test_a_sealed_node_signs_nothing(federation: Federation, tmp_path: Path) -> None:
    """Behind the exported head there is neither event nor signature, however long the old process runs."""
    registry = await federation.registry(heartbeat_s=1)
    await registry.add()
    file = tmp_path / "node.gz"
    assert (await run(registry.settings, "export-node", str(file))).exit_code == 0
    manifest = lines(file)[0]
    twin_beats = again(federation, registry, await elsewhere(federation, registry))
    assert (await run(twin_beats.settings, "import-node", str(file))).exit_code == 0
    twin_beats.port = 0
    await twin_beats.start()

    async def beaten() -> bool:
        return bool((await head(twin_beats))["n"] > manifest["n"] + 2)

    # Three heartbeats of the new one later the old one has said nothing more.
    await eventually(beaten)
    assert (await head(registry))["n"] == manifest["n"]
    assert (await registry.get("/readyz"))["log"] == "on hold: moved"


async def test_a_move_can_be_undone(federation: Federation, tmp_path: Path) -> None:
    """--undo lets the node go on where it was; where nothing was exported it says so."""
    registry = await federation.registry()
    await registry.add()
    nothing = await run(registry.settings, "export-node", "--undo")
    assert (nothing.exit_code, "not been exported" in said(nothing)) == (2, True)
    assert (await run(registry.settings, "export-node", str(tmp_path / "a.gz"))).exit_code == 0
    # Again: the file may have been lost on the way, and is the same node at the same head.
    assert (await run(registry.settings, "export-node", str(tmp_path / "b.gz"))).exit_code == 0
    one, two = lines(tmp_path / "a.gz")[0], lines(tmp_path / "b.gz")[0]
    assert (one["size"], one["n"], one["moved"]) == (two["size"], two["n"], two["moved"])
    assert (await run(registry.settings, "export-node", "--undo")).exit_code == 0
    await registry.add()
    for words in ([], ["--undo", str(tmp_path / "c.gz")]):
        assert (await run(registry.settings, "export-node", *words)).exit_code == 2


async def test_a_file_that_cannot_be_written_seals_nothing(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full the node goes on where it is."""
    registry = await federation.registry()
    await registry.add()
    failed = []

    def full(sink: archive.Sink) -> None:
        failed.append(sink)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.Sink, "end", full)
    done = await run(registry.settings, "export-node", str(tmp_path / "node.gz"))
    assert (done.exit_code, "No space" in said(done), len(failed)) == (2, True, 1)
    assert list(tmp_path.glob("*node.gz*")) == []
    await registry.add()


async def test_only_an_exported_node_goes_on_in_its_epoch(federation: Federation, tmp_path: Path) -> None:
    """A backup's node may be at work: import-node refuses it, and any database that has a node."""
    registry = await federation.registry()
    await registry.add()
    backup = await backed_up(registry, tmp_path / "backup.gz")
    settings = await elsewhere(federation, registry)
    refused = await run(settings, "import-node", str(backup))
    assert (refused.exit_code, "restore" in said(refused)) == (2, True)
    assert await is_empty(settings.database_url)
    file = tmp_path / "node.gz"
    assert (await run(registry.settings, "export-node", str(file))).exit_code == 0
    assert (await run(settings, "import-node", str(file))).exit_code == 0
    before = await everything(settings.database_url)
    assert (await run(settings, "import-node", str(file))).exit_code == 2
    assert await everything(settings.database_url) == before


async def test_a_log_on_hold_does_not_move(federation: Federation, tmp_path: Path) -> None:
    """Where a new epoch is needed first, export-node says so and writes no file; a backup is always possible."""
    registry = await federation.registry()
    await registry.add()
    backup = await backed_up(registry, tmp_path / "backup.gz")
    settings = await elsewhere(federation, registry)
    assert (await run(settings, "restore", str(backup))).exit_code == 0
    refused = await run(settings, "export-node", str(tmp_path / "node.gz"))
    assert (refused.exit_code, "key epoch" in said(refused)) == (2, True)
    assert not (tmp_path / "node.gz").exists()
    twin = again(federation, registry, settings)
    await backed_up(twin, tmp_path / "again.gz")
    third = await elsewhere(federation, registry)
    assert (await run(third, "restore", str(tmp_path / "again.gz"))).exit_code == 0
