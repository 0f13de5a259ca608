"""One command says whether two syncs agree, and if not whose doing it is."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from services.errors import Unavailable
from services.languages import ROOT
from services.sync import comparing, differences
from services.sync.comparing import Report
from services.sync.settings import PREFIX
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import all_stand
from tests.nodes import Registry, Sync, eventually, listen_to
from tests.sync.test_repair import FLIP, run, value


async def compared(here: Sync, there: Sync) -> Report:
    """The comparison, told to whom the first of them belongs."""
    return await comparing.compared(here.settings, here.url, there.url)


def told(report: Report) -> list[tuple[str, str, str | None]]:
    """Why, whose doing, about which node or record."""
    return [(f.cause, f.whose, f.record or f.node) for f in report.findings]


async def pair(federation: Federation) -> tuple[Registry, Sync, Sync]:
    """Two syncs that hold the same view."""
    registry = await federation.registry()
    for _ in range(5):
        await registry.add()
    one, other = await federation.sync([registry]), await federation.sync([registry])
    for sync in (one, other):
        await sync.caught_up([registry])
    return registry, one, other


async def test_two_syncs_that_agree(federation: Federation) -> None:
    """Equal heads, rules and bytes: nothing to say, and exit code 0."""
    _, one, other = await pair(federation)
    assert told(await compared(one, other)) == []
    code, said = await command(one, "--here", one.url, other.url)
    assert (code, "They agree" in said) == (0, True)
    code, said = await command(None, "--here", one.url, other.url, LANG="fr_FR.UTF-8")
    assert (code, "Elles s’accordent" in said) == (0, True)
    code, said = await command(None, "--json", "--here", one.url, other.url)
    assert (code, msgspec.json.decode(said)["agree"]) == (0, True)


async def command(own: Sync | None, *words: str, **more: str) -> tuple[int, str]:
    """The command as an operator types it, with the settings of a sync of hers or without any."""
    known = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **more}
    if own is not None:
        for field in ("database_url", "key_dir", "trust"):
            known[PREFIX + field.upper()] = str(getattr(own.settings, field))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.sync", "compare", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=known,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def test_who_lags_and_by_how_much(federation: Federation) -> None:
    """A sync that was away is behind by so many events: nobody's fault, and said of the right one."""
    registry = await federation.registry()
    one = await federation.sync([registry])
    node = Impostor("juste")
    async with node.serving():
        left, right = await federation.sync([node]), await federation.sync([node])  # type: ignore[list-item]
        for sync in (left, right):
            await all_stand(sync, {"juste": node}, {"juste": ("live", "1.0")})
        held = await stopped_following(right)
        for _ in range(3):
            node.say()
        await all_stand(left, {"juste": node}, {"juste": ("live", "1.3")})

        async def merged() -> bool:
            return bool((await left.digest())["count"] == 3)

        await eventually(merged)
        report = await compared(left, right)
        assert told(report) == [("lag", "there", node.node)]
        assert report.findings[0].args["count"] == 3
        assert told(await compared(right, left)) == [("lag", "here", node.node)]
        held.set()
    assert told(await compared(one, left)) == [
        ("followed", "here", registry.node),
        ("followed", "there", node.node),
    ]


async def stopped_following(sync: Sync) -> asyncio.Event:
    """A sync that goes on answering and reads nothing more, until the event is set."""
    connection = await asyncpg.connect(sync.settings.database_url)
    done = asyncio.Event()
    locked = asyncio.Event()

    async def hold() -> None:
        async with connection.transaction():
            await connection.execute("LOCK TABLE follow_event IN SHARE MODE")
            locked.set()
            await done.wait()
        await connection.close()

    task = asyncio.create_task(hold())
    task.add_done_callback(lambda _: None)
    await locked.wait()
    return done


async def test_lists_and_rules_that_differ_are_named(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another list, hidden records and another policy are openly another view."""
    registry, one, other = await pair(federation)
    place = (await registry.get("/places?limit=1"))["places"][0]["id"]
    file = Path(other.settings.trust)
    file.write_text(f'{file.read_text()}\n[[hidden]]\nrecord = "{place}"\nreason = "on-request"\n')

    async def hidden() -> bool:
        return bool((await other.digest())["count"] == 4)

    await eventually(hidden)
    assert told(await compared(one, other)) == [("followed", "there", place)]
    listen_to(file.parent, [registry], muted=[registry.node])

    async def muted() -> bool:
        return bool((await other.digest())["count"] == 0)

    await eventually(muted)
    assert told(await compared(one, other)) == [("followed", "here", registry.node)]
    report = await compared(one, one)
    strange = replace(report.there, digest=replace(report.there.digest, policy_id="f" * 64))
    (only,) = differences.differences(report.here, strange)
    assert (only.cause, only.whose) == ("policy", "both")


async def test_a_node_with_two_logs_is_named(federation: Federation) -> None:
    """Equal sizes and other roots: the node's doing."""
    one, other = Impostor("double"), Impostor("double")
    other.root, other.online, other.chain, other.node = one.root, one.online, one.chain, one.node
    async with one.serving(), other.serving():
        one.say()
        other.say()
        left, right = await federation.sync([one]), await federation.sync([other])  # type: ignore[list-item]
        for sync in (left, right):
            await all_stand(sync, {"double": one}, {"double": ("live", "1.1")})
        assert told(await compared(left, right)) == [("fork", "node", one.node)]


async def test_a_damaged_place_is_found_and_whose_it_is(federation: Federation) -> None:
    """One flipped bit in one of two views: the record, and on which side, told from either."""
    registry, one, other = await pair(federation)
    flipped = f"UPDATE view SET entry = {FLIP.format('entry')} WHERE id = $1"
    id = await value(other, "SELECT min(id) FROM view")
    await run(other, flipped, id)
    await run(
        other,
        """UPDATE bucket b SET hash = (SELECT sha256(string_agg(entry, ''::bytea ORDER BY entry)) FROM view v
                                       WHERE v.bucket = b.bucket)
           WHERE bucket = (SELECT bucket FROM view WHERE id = $1)""",
        id,
    )
    assert told(await compared(one, other)) == [("corruption", "there", id)]
    assert told(await compared(other, one)) == [("corruption", "here", id)]
    # Without either database nobody can tell.
    assert told(await comparing.compared(None, one.url, other.url)) == [("corruption", "both", id)]
    code, said = await command(one, "--here", one.url, other.url)
    assert (code, id in said) == (1, True)
    await run(
        other,
        f"UPDATE bucket SET hash = {FLIP.format('hash')} WHERE bucket = (SELECT min(bucket) FROM bucket)",
    )
    wrong = told(await compared(one, other))
    assert ("corruption", "there", None) in wrong
    assert {f[1] for f in wrong} == {"there"}
    assert registry.node


async def test_what_cannot_be_compared_is_told(federation: Federation) -> None:
    """A sync that is away, or something else than a sync: exit code 2."""
    _, one, other = await pair(federation)
    await other.stop()
    with pytest.raises(Unavailable):
        await compared(one, other)
    assert (await command(one, "--here", one.url, other.url))[0] == 2
    stranger = Impostor("autre")

    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.json_response({"rien": 1})

    stranger.answers["/digest"] = nonsense
    async with stranger.serving():
        assert (await command(one, "--here", one.url, stranger.url))[0] == 2
    no_settings: Any = await command(None, other.url)
    assert no_settings[0] == 2
