"""The Python client: against real services, through bad weather, and against servers that lead astray."""

import asyncio
import contextlib
import json
import re
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from fnmatch import fnmatch
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

import maillage
from maillage import answers, asking, client, downloads, weather
from maillage.__main__ import main
from schemas.subscription import Filter
from services import files, ledger_epochs
from services.release import release
from services.sync import observing
from services.sync.api import history, items, networks, places
from tests.conftest import Federation
from tests.federation.test_epochs import database
from tests.federation.test_no_broker import notify_of
from tests.nodes import Registry, Sync, eventually

ROOT = Path(__file__).parent.parent
EXAMPLE_URL = "https://vue.exemple.fr"
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "client.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
HERE = {"position": {"lat": 48.11, "lon": -1.68}, "address": {"postcode": "35000"}}
THERE = {"position": {"lat": 48.39, "lon": -4.49}, "address": {"postcode": "29200"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad weather passes quickly, and files are written anew however slow the machine is."""
    monkeypatch.setattr(weather, "FIRST_S", 0.02)
    monkeypatch.setattr(files, "CHEAP_S", inf)


async def typed(*words: str) -> Result:
    """What becomes of a command, in a thread, as it brings an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(words), env={"LANG": "fr_FR.UTF-8"})


async def lines(*words: str) -> list[Any]:
    """The JSON lines that a command prints; it must succeed."""
    done = await typed(*words)
    assert done.exit_code == 0, (words, done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


async def viewed(federation: Federation) -> tuple[Registry, Sync, list[str]]:
    """A registry with places, and a sync that has merged them."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    ids = []
    for n in range(5):
        where = THERE if n % 2 else HERE
        ids.append((await registry.add(name=f"Atelier {n}", families=["fablab"], **where))["id"])
    await sync.caught_up([registry])
    return registry, sync, ids


async def test_a_view_is_read_as_it_is(
    federation: Federation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Items over several pages by every kind of filter, one place with its voices, its past, and why one is gone."""
    registry, sync, ids = await viewed(federation)
    monkeypatch.setattr(client, "PAGE", 2)
    begun = datetime.now(UTC)
    await registry.change(ids[0], name="Atelier neuf")
    await registry.withdraw(ids[4])
    await sync.caught_up([registry])
    async with maillage.Client(sync.url + "/", language="fr") as view:
        listed = [feature async for feature in view.items()]
        found = {feature.id: feature for feature in listed}
        assert sorted(found) == ids[:4]
        assert await view.matched() == len(listed) == 4
        assert found[ids[1]].geometry == answers.Point((-4.49, 48.39))
        assert found[ids[0]].properties["name"] == "Atelier neuf"
        for filters, wanted in (
            ({"q": "neuf"}, ids[:1]),
            ({"departement": ["35", "29"]}, ids[:4]),
            ({"bbox": (-2, 48, -1, 49), "status": "open"}, [ids[0], ids[2]]),
            ({"ids": (ids[1], ids[4]), "network": registry.node}, [ids[1]]),
        ):
            assert sorted([feature.id async for feature in view.items(**filters)]) == wanted
            assert await view.matched(**filters) == len(wanted)
        assert await view.item(ids[0]) == found[ids[0]]

        place = await view.place(ids[0], voice=registry.node)
        assert place.fields["name"].value == place.place["name"] == "Atelier neuf"
        assert place.records[0].place["address"]["postcode"] == "35000"
        assert place.freshness[registry.node].state == "live"
        assert (await view.past(ids[0], begun)).place["name"] == "Atelier 0"
        told = [told async for told in view.history(ids[4])]
        assert [each.kind for each in told] == ["put", "remove"]
        assert told[1].reason == "withdrawn"
        assert (await view.stats()).departements == {"35": 2, "29": 2}
        assert (await view.stats(begun)).places == 5
        (network,) = await view.networks()
        assert (network.node, network.lag, network.places) == (registry.node, 0, 4)

        with pytest.raises(maillage.Problem) as gone:
            await view.place(ids[4])
        assert (gone.value.status, gone.value.code) == (410, "gone")
        assert gone.value.members["reason"] == "other"
        with pytest.raises(maillage.Problem) as wrong:
            await view.matched(bbox=(1, 2, 3), q="x" * 201)
        assert (wrong.value.status, wrong.value.errors[0].parameter) == (400, "q")
        assert str(wrong.value).startswith("400 La demande")
        assert "\n  q: " in str(wrong.value)

    reading, _ = EXAMPLES
    await asyncio.to_thread(exec, reading.replace(EXAMPLE_URL, sync.url), {})
    said = capsys.readouterr().out
    assert "4 fablabs\n" in said
    assert f"{ids[0]} Atelier neuf Point(" in said

    assert sorted(line["id"] for line in await lines("items", sync.url, "departement=35,29")) == ids[:4]
    assert (await lines("place", sync.url, ids[0]))[0]["records"][0]["network"] == registry.node
    refused = await typed("items", sync.url, "nom=x")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "\n  nom: " in refused.stderr


async def test_pages_repeat_and_skip_nothing_while_the_view_changes(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places come, change and go between two pages: each is given once, and none that stood all the time is missed."""
    registry, sync, ids = await viewed(federation)
    monkeypatch.setattr(client, "PAGE", 2)
    found: list[str] = []
    async with maillage.Client(sync.url) as view:
        async for feature in view.items():
            found.append(feature.id)
            if len(found) in (2, 4):
                await registry.change(found[0], name=f"Zone {len(found)}", **THERE)
                await registry.add()
                if len(found) == 2:
                    await registry.withdraw(ids[3])
                await sync.caught_up([registry])
    assert len(found) == len(set(found))
    assert set(ids) - {ids[3]} <= set(found)
    assert ids[3] not in found


async def test_changes_are_followed_over_a_restart_of_the_server(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that goes away and comes back is followed on: each change once, in order, to the last."""
    registry, sync, ids = await viewed(federation)
    heard: list[maillage.Change] = []

    async def listen() -> None:
        async with maillage.Client(sync.url, patience=0) as view:
            async for change in view.changes():
                heard.append(change)  # noqa: PERF401 - it never ends

    async def heard_of(id: str, view: str) -> None:
        async def told() -> bool:
            return (heard[-1].id, heard[-1].view) == (id, view) if heard else False

        await eventually(told)

    listening = asyncio.create_task(listen())
    await heard_of(ids[4], "entered")
    await sync.stop()

    async def noticed() -> bool:
        return any(record.name == "maillage" for record in caplog.records)

    await eventually(noticed)
    await registry.change(ids[0], name="Pendant la panne")
    await sync.start()
    await heard_of(ids[0], "updated")
    await registry.withdraw(ids[1])
    await heard_of(ids[1], "left")
    await registry.claim(ids[2], ids[3], "distinct")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)

    events = [msgspec.json.decode(msgspec.json.decode(line)["raw"]) for line in await feed(sync)]
    assert [change.cursor for change in heard] == [f"1.{int(event['sequence'])}" for event in events]
    changed = heard[-2]
    assert changed.place["name"] == changed.changed["name"]["after"] == "Pendant la panne"
    assert changed.cause[0].startswith(registry.node + "/")
    assert heard[-1].reason == "withdrawn"
    assert [line["cursor"] for line in await lines("changes", sync.url, "--no-wait", "--after", heard[2].cursor)] == [
        change.cursor for change in heard[3:]
    ]  # fmt: skip
    async with maillage.Client(registry.url) as own:
        await stopped_in_the_middle(own, ids)
        told = [(change.id, change.view) async for change in own.changes("1.4", wait=False)]
    assert told == [(ids[4], "entered"), (ids[0], "updated"), (ids[1], "left")]


async def stopped_in_the_middle(own: maillage.Client, ids: list[str]) -> None:
    """Whoever stops before she is done with a change is told of it again; the cursor passes over what tells nothing."""
    log = own.changes(wait=False)
    async for change in log:
        if change.id == ids[2]:
            break
    assert log.cursor == "1.2"
    assert [change.id async for change in log] == [ids[2], ids[3], ids[4], ids[0], ids[1]]
    assert log.cursor == "1.8"

    async def signed() -> bool:
        return await own.now() == "1.8"

    await eventually(signed)


async def feed(sync: Sync) -> list[bytes]:
    """The lines of a sync's own log, without the checkpoint."""
    return (await sync.get("/feed?after=0.0")).splitlines()[:-1]


async def test_a_notify_tells_what_concerns_a_selection(federation: Federation) -> None:
    """At a notify one follows a selection: what enters and leaves it, and its cursor passes over the rest."""
    registry, sync, ids = await viewed(federation)
    async with notify_of(sync, federation) as notify, maillage.Client(notify.url) as told:
        await notify.at("1.5")
        first = [change async for change in told.selected(departement="29", wait=False)]
        assert [(change.id, change.view) for change in first] == [(ids[1], "entered"), (ids[3], "entered")]
        log = aiter(told.selected("1.5", departement=["29"], network=registry.node))
        await registry.change(ids[0], summary="ailleurs")
        await registry.change(ids[1], **HERE)
        left = await anext(log)
        assert (left.id, left.view, left.place["address"]["postcode"]) == (ids[1], "left", "35000")
        words = ("selected", notify.url, "departement=29", "--after", "1.5", "--no-wait")
        assert [line["cursor"] for line in await lines(*words)] == [left.cursor]


async def test_a_mirror_that_was_away_for_too_long_begins_anew(
    federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file, then what changes after it, without gap or overlap; and a file again where the log has let go."""
    registry, sync, ids = await viewed(federation)
    path, cursors = tmp_path / "vue.geojsonl", []
    held: set[str] = set()

    async def follow(after: str | None, early: Callable[[], Awaitable[Any]] | None = None) -> list[str]:
        """Go on from a cursor to the end of the log; what came. `early` happens after the first file."""
        came = []
        async for step in view.mirror("geojsonl", path, after, wait=False):
            match step:
                case maillage.Export():
                    held.clear()
                    held.update(feature.id for feature in step.features())
                    if early is not None:
                        await early()
                        await sync.caught_up([registry])
                case maillage.Change(place=None):
                    held.remove(step.id)
                case maillage.Change():
                    held.add(step.id)
            came.append(type(step).__name__ if isinstance(step, maillage.Export) else step.view)
            cursors.append(step.cursor)
        return came

    async def listed() -> set[str]:
        return {feature.id async for feature in view.items()}

    async with maillage.Client(sync.url) as view:
        assert await follow(None, early=lambda: registry.withdraw(ids[0])) == ["Export", "left"]
        assert held == await listed()
        await registry.add()
        await registry.change(ids[1], name="Autre nom")
        await sync.caught_up([registry])
        assert await follow(cursors[-1]) == ["entered", "updated"]
        assert held == await listed()
        assert await follow(cursors[-1]) == []

        async with database(sync) as conn, conn.transaction():
            assert await ledger_epochs.let_go(conn, 1)
        with pytest.raises(maillage.CursorGone, match="snapshot") as gone:
            _ = [change async for change in view.changes(cursors[0], wait=False)]
        assert (gone.value.status, gone.value.members["floor"]) == (410, "1.7")
        held.add("what went while nobody listened")
        assert await follow(cursors[0]) == ["Export"]
        assert held == await listed()
        assert await follow(cursors[-1]) == []

    _, example = EXAMPLES
    for spoken, meant in (
        (EXAMPLE_URL, sync.url),
        ('"places.geojsonl", after', f'"{tmp_path / "places.geojsonl"}", after, wait=False'),
        ('Path("cursor")', f'Path("{tmp_path / "cursor"}")'),
    ):
        assert spoken in example
        example = example.replace(spoken, meant)
    await asyncio.to_thread(exec, example, {})
    assert "everything anew: 5 places\n" in capsys.readouterr().out
    await registry.withdraw(ids[1])
    await sync.caught_up([registry])
    await asyncio.to_thread(exec, example, {})
    said = capsys.readouterr().out
    assert f"left {ids[1]} {{}}\n" in said
    assert "everything" not in said


class Wire:
    """A wire to a server that breaks in the middle of an answer, once, when it is told to."""

    HOLDS = 70_000

    def __init__(self, port: int, arrived: Callable[[], Awaitable[bool]]) -> None:
        self.port, self.arrived, self.url = port, arrived, ""
        self.breaks, self.broken = False, 0
        self.heads: list[str] = []

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand one question on, and the answer back as far as the wire holds."""
        far, out = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            out.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await self._back(far, writer)
        writer.close()
        out.transport.abort()

    async def _back(self, far: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = 0
        while data := await far.read(16 * 1024):
            writer.write(data)
            await writer.drain()
            given += len(data)
            if self.breaks and given > self.HOLDS:
                await eventually(self.arrived)
                self.breaks, self.broken = False, self.broken + 1
                writer.transport.abort()
                raise ConnectionAbortedError

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Wire"]:
        """The wire, on a free port."""
        async with await asyncio.start_server(self.relay, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self


async def test_a_file_is_taken_up_where_it_was_cut(federation: Federation, tmp_path: Path) -> None:
    """What is missing of the version that was begun is asked for; another version, and a stream, begin anew."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    for n in range(20):
        await registry.add(name=f"Long {n}", summary="s" * 280, description=f"{n:04}" * 1500)
    path = tmp_path / "places.csv"
    part = tmp_path / "places.csv.part"

    async def arrived() -> bool:
        return part.exists() and part.stat().st_size > 0

    async with Wire(registry.port, arrived).serving() as wire, maillage.Client(wire.url) as own:
        wire.breaks = True
        export = await own.export("csv", path)
        assert (wire.broken, len(wire.heads)) == (1, 2)
        assert path.read_bytes() == await registry.get("/exports/places.csv")
        assert (export.cursor, export.bytes, export.path) == ("1.20", path.stat().st_size, path)
        begun = wire.heads[1].partition("Range: bytes=")[2].partition("-")[0]
        assert 0 < int(begun) < export.bytes
        assert f"If-Range: {export.etag}\r\n" in wire.heads[1]

        async def changed() -> bool:
            if there := await arrived():
                await registry.add(name="Entre-temps")
            return there

        wire.breaks, wire.arrived = True, changed
        again = await own.export("csv", path)
        assert (wire.broken, again.cursor, len(wire.heads)) == (2, "1.21", 4)
        assert "If-Range" in wire.heads[3]
        assert path.read_bytes() == await registry.get("/exports/places.csv")
    assert list(tmp_path.glob("*.part")) == []
    await sync.caught_up([registry])
    (said,) = await lines("export", sync.url, str(tmp_path / "vue.geojsonl"), "--etalab")
    assert (said["cursor"], said["bytes"]) == ("1.21", (tmp_path / "vue.geojsonl").stat().st_size)


class Impostor:
    """A server that says what a test wants, one answer after the other, the last one for ever."""

    def __init__(self, *answers: web.Response | None) -> None:
        self.answers, self.url = list(answers), ""
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The next answer; None hangs up."""
        self.asked.append(request.path_qs)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if said is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=said.status, headers=said.headers, body=said.body, reason=said.reason)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Impostor"]:
        """The server, on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()


def said(value: Any, status: int = 200, **headers: str) -> web.Response:
    """An answer: JSON, lines of it, or text."""
    match value:
        case str():
            return web.Response(text=value, status=status, headers=headers)
        case list():
            return web.Response(
                body=b"".join(json.dumps(line).encode() + b"\n" for line in value), headers=headers
            )
    return web.json_response(value, status=status, headers=headers)  # fmt: skip


def item(id: str) -> dict[str, Any]:
    """A feature without a position."""
    return {"type": "Feature", "id": id, "geometry": None, "properties": {"name": id}}


def page(ids: str, following: str | None = None) -> web.Response:
    """A page of items with ids of one letter, and a link to the next one."""
    links = [{"rel": "next", "href": following}] if following else []
    return said({"features": [item(id) for id in ids], "numberMatched": 9, "links": links})


AWAY = said(
    {"type": "urn:maillage:problem:unavailable", "title": "Not\x1b[2J now."}, 503, **{"Retry-After": "0"}
)


async def test_bad_weather_is_waited_out_and_a_refusal_is_not() -> None:
    """503, 429, a proxy's own errors and a cut line are asked again; what the server refuses is asked once."""
    answers = (AWAY, None, said("busy", 429), said("<html>", 502), said(item("a")))
    async with Impostor(*answers).serving() as impostor, maillage.Client(impostor.url) as view:
        assert (await view.item("a")).id == "a"
        assert impostor.asked == ["/collections/places/items/a"] * 5
    for refusal in (400, 403, 404, 409, 410, 422, 500, 501):
        async with Impostor(said({}, refusal)).serving() as impostor, maillage.Client(impostor.url) as view:
            for question in (view.item("a"), anext(aiter(view.changes())), anext(aiter(view.selected()))):
                with pytest.raises(maillage.Problem) as problem:
                    await question
                assert problem.value.status == refusal
            assert len(impostor.asked) == 3


async def test_patience_ends_where_one_says_so() -> None:
    """A question gives up after its patience, and at once where the server asks for more; who follows never does."""
    change = {
        "cursor": "1.1",
        "id": "a",
        "time": "",
        "view": "left",
        "place": None,
        "changed": {},
        "cause": [],
    }
    told = said({"changes": [change], "cursor": "1.1", "more": False})
    busy = Impostor(AWAY, AWAY, told)
    async with busy.serving(), maillage.Client(busy.url, patience=0) as view:
        with pytest.raises(maillage.Problem, match=r"^503 Not\ufffd\[2J now\.$"):
            await view.networks()
        assert len(busy.asked) == 1
        assert (await anext(aiter(view.selected()))).cursor == "1.1"
        assert len(busy.asked) == 3
    closed = Impostor(said({}, 503, **{"Retry-After": "3600"}))
    async with closed.serving(), maillage.Client(closed.url) as view:
        with pytest.raises(maillage.Problem):
            await view.networks()
        assert len(closed.asked) == 1
    async with maillage.Client(closed.url, patience=0) as view:
        with pytest.raises(maillage.Unreachable, match=closed.url):
            await view.networks()


def test_pauses_grow_and_differ() -> None:
    """Each pause is longer than the one before, up to a bound, and no two clients come back at the same moment."""
    assert [weather.pause(failures, 1) / weather.FIRST_S for failures in range(4)] == [1, 2, 4, 8]
    assert weather.pause(10_000, 1) == weather.LONGEST_S
    assert weather.pause(3, 0) == weather.pause(3, 1) / 2


async def test_nothing_leads_a_client_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect is refused, and a link to another host is asked where one began."""
    async with Impostor(page("z")).serving() as other:
        leading = (said("", 302, Location=other.url), page("ab", f"{other.url}/x?page=2"), page("bc"))
        async with Impostor(*leading).serving() as impostor, maillage.Client(impostor.url) as view:
            with pytest.raises(maillage.Unusable, match=other.url):
                await view.matched()
            assert [feature.id async for feature in view.items(q="é&c")] == ["a", "b", "c"]
            assert impostor.asked[2] == "/collections/places/items?page=2"
        assert other.asked == []


def fed(*sequences: int, **close: Any) -> web.Response:
    """A page of a feed with events at these places."""
    event = {
        "specversion": "1.0", "source": f"urn:maillage:{'n' * 26}", "type": "org.maillage.place.withdraw.v1",
        "subject": "x:y", "time": "", "datacontenttype": "application/json", "epoch": 1, "recordversion": 2,
        "salt": "A" * 22, "data": {},
    }  # fmt: skip
    raws = [{**event, "id": f"1-{n:016}", "sequence": f"{n:016}"} for n in sequences]
    signed = [{"raw": json.dumps(raw), "kid": "0" * 16, "sig": "A" * 86} for raw in raws]
    checkpoint = {"raw": json.dumps({"epoch": 1, "size": 9}), "kid": "0" * 16, "sig": "A" * 86}
    return said([*signed, *([close] if close else [{"checkpoint": checkpoint}])])


async def test_what_cannot_be_meant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers without end, pages in circles, holes in a feed and what is no answer at all: each is one clear error."""
    monkeypatch.setattr(asking, "MOST", 10_000)
    monkeypatch.setattr(downloads, "MOST", 10_000)
    kept = tmp_path / "places.csv"
    kept.write_text("as it was")

    async def every(of: Any) -> list[Any]:
        return [each async for each in of]

    def log(view: maillage.Client) -> Any:
        return every(view.changes(wait=False))

    long = said("x" * 20_000, **{"Merge-Cursor": "1.1"})
    cases: list[tuple[web.Response, Callable[[maillage.Client], Any], type[maillage.Failure]]] = [
        (page("ab", "/?page=1"), lambda view: every(view.items()), maillage.Unusable),
        (said("<html>"), lambda view: view.networks(), maillage.Unusable),
        (said({"networks": 3}), lambda view: view.networks(), maillage.Unusable),
        (said("[" * 5000), lambda view: view.networks(), maillage.Unusable),
        (said({"id": "a", "changes": [], "next": "0.0"}), lambda v: every(v.history("a")), maillage.Unusable),
        (long, lambda view: view.networks(), maillage.Unusable),
        (long, lambda view: view.export("csv", kept), maillage.Unusable),
        (said("no cursor"), lambda view: view.export("csv", kept), maillage.Unusable),
        (said({}, 404), lambda view: view.export("csv", kept), maillage.Problem),
        (fed(1, 3), log, maillage.Unusable),
        (fed(2), log, maillage.Unusable),
        (fed(1, redacted=True, seq=2), log, maillage.Unreachable),
        (said(""), log, maillage.Unreachable),
    ]
    for answer, ask, expected in cases:
        async with Impostor(answer).serving() as impostor:
            async with maillage.Client(impostor.url, patience=0) as view:
                with pytest.raises(expected):
                    await asyncio.wait_for(ask(view), 30)
            assert impostor.asked
    assert [path.name for path in tmp_path.iterdir()] == ["places.csv"]
    assert kept.read_text() == "as it was"
    for url in ("vue.exemple.fr", "ftp://vue.exemple.fr", "https:///x", "https://vue.exemple.fr/?q=x"):
        with pytest.raises(ValueError, match="looks like"):
            maillage.Client(url)
    with pytest.raises(RuntimeError, match="async with"):
        await maillage.Client("https://vue.exemple.fr").networks()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (answers.Place, places.Rich),
        (answers.Voice, places.Voice),
        (answers.Freshness, places.Freshness),
        (answers.Past, history.Past),
        (answers.History, history.History),
        (answers.Told, history.Change),
        (answers.Network, networks.Network),
        (answers.Stats, observing.Stats),
    ],
)
def test_the_client_reads_what_services_say(ours: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    """No member that the client needs is missing in the answer."""
    said = {field.encode_name for field in msgspec.structs.fields(theirs)}
    assert {field.encode_name for field in msgspec.structs.fields(ours)} <= said


def test_the_client_asks_what_services_understand() -> None:
    """Every filter that the client offers is a parameter of the list, or of the selection."""
    for ours, theirs in (
        (client.Filters, items.Query),
        (client.Shown, items.Plain),
        (client.Selection, Filter),
    ):
        understood = {field.encode_name for field in msgspec.structs.fields(theirs)}
        assert ours.__annotations__.keys() <= understood


def test_the_client_comes_with_the_distribution() -> None:
    """It is installed with the services, typed, and is of the same release."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert any(fnmatch("maillage", name) for name in tools["setuptools"]["packages"]["find"]["include"])
    assert "py.typed" in tools["setuptools"]["package-data"]["maillage"]
    assert "maillage" in tools["mypy"]["packages"]
    assert maillage.__version__ == release()
