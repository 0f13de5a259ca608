"""A bit that flips in a registry's database is found, told, and put right from a sync that follows it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from services import fetching, settings
from services.errors import Unavailable
from services.holders import Remote
from services.languages import ROOT
from services.mending import Told
from services.registry import app as registry_app
from services.registry import erasing, repairing
from services.registry.settings import PREFIX
from tests.conftest import Federation
from tests.nodes import Registry, Sync

FLIP = (
    "set_bit({0}, (octet_length({0}) * 4 + 3)::bigint, 1 - get_bit({0}, (octet_length({0}) * 4 + 3)::bigint))"
)


async def run(registry: Registry, statement: str, *args: Any) -> str:
    """A statement on the registry's own database."""
    connection = await asyncpg.connect(registry.settings.database_url)
    try:
        return str(await connection.execute(statement, *args))
    finally:
        await connection.close()


async def dump(registry: Registry) -> dict[str, list[Any]]:
    """All that is stored of log and records, except what may be worked out later."""
    connection = await asyncpg.connect(registry.settings.database_url)
    tables = {
        "ledger_event": "*",
        "ledger_record": "*",
        "ledger_erasure": "*",
        "place": "*",
        "other": "*",
        "ledger_head": "node, epoch, size, peaks",
    }
    try:
        return {
            table: [tuple(row) for row in await connection.fetch(f"SELECT {what} FROM {table} ORDER BY 1")]
            for table, what in tables.items()
        }
    finally:
        await connection.close()


async def repaired(registry: Registry, url: str | None = None) -> list[Told]:
    """What `repair` finds, and puts right from this holder."""
    async with registry_app.database(registry.settings) as pool, fetching.client() as client:
        return await repairing.repair(pool, Remote(client, url, registry.node) if url else None)


def words(found: Sequence[Told]) -> list[str]:
    """What was found, in words."""
    return [one.what.format(**one.args) + (" Mended." if one.mended else "") for one in found]


async def filled(federation: Federation) -> tuple[Registry, Sync]:
    """A network that has done all that networks do, and a sync that has followed it from the first event on."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    places = [await registry.add() for _ in range(6)]
    await registry.change(places[0]["id"], summary="Une autre phrase")
    await registry.withdraw(places[1]["id"])
    await registry.claim(places[2]["id"], places[3]["id"])
    words = {"label": "Atelier", "families": ["workshop"]}
    await registry.call("PUT", "/vocabulary/types/atelier", json=words, headers={"If-None-Match": "*"})
    await erasing.erased(registry.settings, places[4]["id"], None)
    await erasing.erased(registry.settings, places[0]["id"], "1-1")
    await sync.caught_up([registry])
    return registry, sync


FLIPS = {
    "bytes": (f"UPDATE ledger_event SET raw = {FLIP.format('raw')} WHERE seq = 3", "Event 1.3: its bytes are damaged."),
    "leaf": (f"UPDATE ledger_event SET leaf = {FLIP.format('leaf')} WHERE seq = 4", "Event 1.4: its leaf is damaged."),
    "signature": (f"UPDATE ledger_event SET sig = {FLIP.format('sig')} WHERE seq = 6", "its signature is damaged."),
    "key": ("UPDATE ledger_event SET kid = 'ffffffffffffffff' WHERE seq = 6", "its signature is damaged."),
    "leaf of an erased event": (
        f"UPDATE ledger_event SET leaf = {FLIP.format('leaf')} WHERE erasure IS NOT NULL AND seq = 1",
        "are not those that were signed.",
    ),
    "column": ("UPDATE ledger_event SET version = 9 WHERE seq = 2", "Event 1.2: its columns are damaged."),
    "peaks": (f"UPDATE ledger_head SET peaks[1] = {FLIP.format('peaks[1]')}", "The Merkle range over the log is"),
    "checkpoint": (
        "UPDATE ledger_checkpoint SET raw = replace(raw, '\"v\":1', '\"v\":3') WHERE size = 4",
        "is damaged.",
    ),
    "record": (f"UPDATE ledger_record SET leaf = {FLIP.format('leaf')} WHERE seq = 3", "is noted wrongly."),
    "place": (f"UPDATE place SET body = {FLIP.format('body')} WHERE seq = 3", "is not what the log says."),
    "name of a place": ("UPDATE place SET name = 'autre' WHERE seq = 3", "is not what the log says."),
    "lost place": ("DELETE FROM place WHERE seq = 3", "is not what the log says."),
    "claim": ("UPDATE other SET key = 'autre' WHERE kind = 'claim'", "is not what the log says."),
}  # fmt: skip


async def test_flipped_bits_are_found_told_and_mended(federation: Federation) -> None:
    """Nothing is said of what is whole; damage is told alone, then mended: every row is what it was."""
    registry, sync = await filled(federation)
    before = await dump(registry)
    for name, (statement, said) in FLIPS.items():
        assert await repaired(registry) == [], name
        assert not (await run(registry, statement)).endswith(" 0"), name
        told = words(await repaired(registry))
        assert any(said in line for line in told), (name, told)
        assert not any("Mended" in line for line in told), name
        mended = words(await repaired(registry, sync.url))
        assert mended, name
        assert all("Mended" in line for line in mended), (name, mended)
        assert await dump(registry) == before, name
    assert await repaired(registry) == []
    await registry.add()
    await sync.caught_up([registry])
    await sync.hears(registry.node)


async def test_another_event_in_its_place_is_found_by_the_signed_roots(federation: Federation) -> None:
    """Two events that changed places are whole, each in itself, and are put back."""
    registry, sync = await filled(federation)
    before = await dump(registry)
    columns = "raw, kid, sig, leaf"
    await run(
        registry,
        f"""UPDATE ledger_event e SET ({columns}) = (SELECT {columns} FROM ledger_event o WHERE o.seq = 5 - e.seq)
            WHERE seq IN (2, 3)""",
    )
    assert await repaired(registry)
    mended = words(await repaired(registry, sync.url))
    assert all("Mended" in line for line in mended), mended
    assert await dump(registry) == before


async def test_the_command_says_it_in_one_screen(federation: Federation) -> None:
    """Exit code 1 and the command to run where something is damaged, 0 once it is mended; in French too."""
    registry, sync = await filled(federation)
    await run(registry, FLIPS["bytes"][0])

    async def command(*words: str, **more: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services.registry", "repair", *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**environment(registry), "LANG": "C.UTF-8", **more},
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    code, said = await command()
    assert (code, "Event 1.3: its bytes are damaged." in said) == (1, True)
    assert "repair --from URL" in said
    code, said = await command(LANG="fr_FR.UTF-8")
    assert (code, "endommagé" in said) == (1, True)
    assert (await command("--from", sync.url))[0] == 0
    code, said = await command()
    assert (code, said) == (0, "Nothing is damaged.\n")
    await sync.stop()
    await run(registry, FLIPS["bytes"][0])
    with pytest.raises(Unavailable) as away:
        await repaired(registry, sync.url)
    assert away.value.arguments["url"] == sync.url


def environment(registry: Registry) -> dict[str, str]:
    """The settings of a registry as an operator gives them."""
    known = {"PATH": os.environ["PATH"]}
    chosen = registry.settings
    for field in ("database_url", "key_dir", "name", "slug", "license"):
        known[PREFIX + field.upper()] = str(getattr(chosen, field))
    assert settings.load(type(chosen), PREFIX, known).database_url == chosen.database_url
    return known
