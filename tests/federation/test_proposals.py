"""Proposals from a sync to the registries, and their answers back into the view."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result
from uuid_utils import uuid7

from services.registry import __main__ as commands
from tests.conftest import Federation
from tests.nodes import Registry, environ
from tests.sync.proposing import BREST, RENNES, Networks, networks


async def proposals(registry: Registry, *words: str, keys: str = "", locale: str = "C") -> Result:
    """What became of a `proposals` command of somebody who presses these keys."""
    env = {**environ(registry.settings), "LC_ALL": locale}
    run = CliRunner().invoke
    return await asyncio.to_thread(run, commands.main, ["proposals", *words], env=env, input=keys)


async def listed(registry: Registry, url: str, *words: str) -> list[Any]:
    """What a sync proposes to a registry, as its command gives it to machines."""
    done = await proposals(registry, "--sync", url, "--json", *words)
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout)["proposals"])


@pytest.fixture
async def two(federation: Federation, tmp_path: Path) -> Networks:
    """Two networks and a sync that joins hardly anything unasked."""
    return await networks(federation, 2, tmp_path)


async def mill(registry: Registry, **said: Any) -> str:
    """A record of one and the same place."""
    return str((await registry.add(**{"name": "Filature du Pont Rouge", "address": RENNES, **said}))["id"])


async def test_both_answer_and_it_is_one_place(two: Networks) -> None:
    """Each network is asked about what is hardly alike; when both have said `same`, it is one place for all."""
    here, there = two.registries
    url = two.sync.url
    mine, theirs = await mill(here), await mill(there, name="Maison des Arts", address=BREST)
    await two.sync.caught_up([here, there])
    assert await listed(here, url) == []
    told = await proposals(here, "--answer", mine, theirs, "same", "--statement", "Elle a déménagé.")
    assert told.exit_code == 0, told.output
    await two.sync.caught_up([here, there])
    assert await listed(here, url) == []
    (kept,) = await listed(here, url, "--all")
    assert kept["answer"] == "same"
    (asked,) = await listed(there, url)
    assert (asked["mine"]["record"], asked["theirs"]["record"]) == (theirs, mine)
    assert asked["proposal"]["said"] == [{"network": here.node, "verdict": "same"}]
    # Whoever names the other's record first means the same.
    answered = await proposals(there, "--answer", mine, theirs, "same")
    assert answered.exit_code == 0, answered.output
    await two.sync.caught_up([here, there])
    assert (await two.sync.get(f"/places/{mine}"))["aliases"] == sorted((mine, theirs))
    for registry in (here, there):
        assert await listed(registry, url, "--all") == []


async def test_one_word_joins_what_is_alike(two: Networks) -> None:
    """Where a pair is alike enough to be proposed, one `same` joins it, and `distinct` of the other parts it."""
    here, there = two.registries
    url = two.sync.url
    mine, theirs = await mill(here), await mill(there)
    await two.sync.caught_up([here, there])
    assert (await two.sync.digest())["count"] == 2
    (asked,) = await listed(here, url)
    assert asked["proposal"]["points"] > 0
    assert asked["answer"] is None
    assert (await proposals(here, "--answer", mine, theirs, "same")).exit_code == 0
    await two.sync.caught_up([here, there])
    assert (await two.sync.get(f"/places/{theirs}"))["aliases"] == sorted((mine, theirs))
    assert await listed(there, url, "--all") == []
    assert (await proposals(there, "--answer", theirs, mine, "distinct")).exit_code == 0
    await two.sync.caught_up([here, there])
    assert (await two.sync.digest())["count"] == 2
    for registry in (here, there):
        assert await listed(registry, url, "--all") == []


async def test_proposals_are_asked_one_after_another(two: Networks) -> None:
    """In French as in English: a key answers, another is asked again, one leaves it for another day."""
    here, there = two.registries
    url = two.sync.url
    names = ("Filature du Pont Rouge", "Moulin de Kerlouan", "Forge Saint-Eloi", "Halle aux Toiles")
    ours = [await mill(here, name=name, address={**RENNES, "street": f"3 rue {name}"}) for name in names]
    for name in names:
        await mill(there, name=name, address={**RENNES, "street": f"3 rue {name}"})
    await two.sync.caught_up([here, there])
    order = [offer["mine"]["record"] for offer in await listed(here, url)]
    assert sorted(order) == sorted(ours)
    asked = await proposals(here, "--sync", url, "--ask", keys="oui\no\nn\np\npasser\n", locale="fr_FR.UTF-8")
    assert asked.exit_code == 0, asked.output
    assert asked.output.count("Un seul et même lieu\u00a0?") == 5
    verdicts = {c["claim"]["a"]: c["claim"]["verdict"] for c in (await here.get("/claims"))["claims"]}
    assert verdicts == dict(zip(order, ("same", "distinct", "part-of"), strict=False))
    await two.sync.caught_up([here, there])
    assert [offer["mine"]["record"] for offer in await listed(here, url)] == order[3:]
    english = await proposals(here, "--sync", url, "--ask", keys="o\nY\n")
    assert english.output.count("One and the same place?") == 2
    assert len((await here.get("/claims"))["claims"]) == 4


async def test_a_proposal_can_be_read(two: Networks) -> None:
    """Both names and communes, both ids, points and what speaks for it in words, and what the other network said."""
    here, there = two.registries
    mine = await mill(here, phone="+33299000001")
    await two.sync.caught_up([here, there])
    empty = await proposals(here, "--sync", two.sync.url)
    assert empty.output == "Proposals: 0. 0 more are answered.\n"
    theirs = await mill(there, name="La Filature", phone="+33299000001")
    contest = {"a": theirs, "b": mine, "verdict": "contests", "statement": "Autre adresse."}
    assert (await there.call("POST", "/claims", json=contest))[0] == 201
    await two.sync.caught_up([here, there])
    shown = (await proposals(here, "--sync", two.sync.url, locale="fr_FR.UTF-8")).output
    for words in (
        "1. Filature du Pont Rouge, Rennes\n", mine, "La Filature, Rennes (Réseau)", theirs, "points de ressemblance, ",
        "Pour\u00a0: ", "téléphone pareil (+", "Réseau dit\u00a0: ce que l’autre en dit est faux",
        "Propositions\u00a0: 1. Déjà répondu\u00a0: 0.",
    ):  # fmt: skip
        assert words in shown, shown


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def impostor(answer: Answer) -> AsyncIterator[str]:
    """The URL of a sync that answers what it likes."""
    app = web.Application()
    app.router.add_get("/proposals", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def proposal(a: str, b: str, name: str = "X") -> dict[str, Any]:
    """A proposal as syncs make it."""
    sides = ({"record": id, "network": id[:26], "view": id, "name": name, "city": None} for id in (a, b))
    return {**dict(zip("ab", sides, strict=True)), "points": 1, "why": "close", "features": [], "said": []}


async def test_a_sync_is_not_believed(registry: Registry) -> None:
    """Pairs that are none of ours, or of records we do not have, are passed over; orders to terminals are no words."""
    mine, gone = (await registry.add())["id"], (await registry.add())["id"]
    await registry.withdraw(gone)
    stranger, another = (f"{letter * 26}:{uuid7()}" for letter in "cd")
    ours = proposal(stranger, mine, "\x1b[2JNom" + "x" * 1000)
    pairs = [
        proposal(stranger, another), proposal(mine, gone), proposal(gone, stranger), ours,
        proposal(f"{registry.node}:{uuid7()}", stranger), proposal(f"{'e' * 26}:{mine[27:]}", another),
    ]  # fmt: skip

    async def answer(request: web.Request) -> web.Response:
        assert request.query["network"] == registry.node
        more = None if "page" in request.query else "a&b=c"
        return web.json_response({"proposals": pairs if more else [], "next": more, "networks": {}})

    async with impostor(answer) as url:
        (offer,) = await listed(registry, url)
        assert (offer["mine"]["record"], offer["theirs"]["record"]) == (mine, stranger)
        shown = (await proposals(registry, "--sync", url)).output
        assert "\x1b" not in shown
        assert max(map(len, shown.splitlines())) < 400


async def test_a_sync_that_does_not_answer_is_told_in_a_line(registry: Registry) -> None:
    """Nobody there, another status, a redirect, what is no proposal, and what never ends."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        # Whoever has read enough leaves, which the server of this test, in this process, would log.
        with suppress(ConnectionResetError):
            for _ in range(64):
                await response.write(b" " * 2**16)
        return response

    async def pages(_: web.Request) -> web.Response:
        return web.json_response({"proposals": [], "next": "more"})

    async def wrong(_: web.Request) -> web.Response:
        return web.json_response({"proposals": [{"a": "x"}]})

    async def away(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:9/")

    async def missing(_: web.Request) -> web.Response:
        raise web.HTTPNotFound

    for answer in (endless, wrong, away, missing):
        async with impostor(answer) as url:
            failed = await proposals(registry, "--sync", url)
            assert (failed.exit_code, failed.output.startswith(url)) == (2, True), failed.output
            assert len(failed.output.splitlines()) == 1
    failed = await proposals(registry, "--sync", "http://127.0.0.1:9", locale="fr_FR.UTF-8")
    assert (failed.exit_code, "n’a pas répondu" in failed.output) == (2, True), failed.output
    async with impostor(pages) as url:
        assert await listed(registry, url) == []
    for words in ((), ("--answer", "a", "b", "contests"), ("--sync", "x", "--statement", "y")):
        assert (await proposals(registry, *words)).exit_code == 2, words
