"""Changes told by poll and by stream, of a real log on real databases."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from demo.postgres import Postgres
from schemas import event
from services import merkle
from services.notify import app as notify_app
from services.notify import reading
from services.notify.settings import Settings
from tests.notify import log as logs
from tests.notify.log import Log, place_id, traits

IN, OUT = traits("35"), traits("56")


class Notify:
    """A notify and a client of it."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self.url, self.client = url, client

    async def ask(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET."""
        async with self.client.get(self.url + path) as answer:
            return answer.status, await answer.json(content_type=None)

    async def changes(self, query: str = "") -> dict[str, Any]:
        """A page of changes."""
        status, body = await self.ask("/changes?" + query)
        assert status == 200, body
        return dict(body)

    async def at(self, cursor: str) -> None:
        """Wait until this position of the log has arrived."""
        async with asyncio.timeout(60):
            while (await self.changes("limit=1&since=0.0&departement=99"))["cursor"] != cursor:
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def stream(self, query: str = "", last: str | None = None) -> AsyncIterator["Stream"]:
        """An open stream."""
        headers = {"Last-Event-ID": last} if last else {}
        async with self.client.get(f"{self.url}/changes/stream?{query}", headers=headers) as answer:
            assert answer.content_type == "text/event-stream"
            stream = Stream(answer)
            assert await stream.comment() == "bonjour"
            yield stream


class Stream:
    """What a browser would see of a stream; comments apart."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> list[str]:
        """The lines of the next block."""
        async with asyncio.timeout(60):
            block = await self.answer.content.readuntil(b"\n\n")
        return block.decode().rstrip("\n").split("\n")

    async def comment(self) -> str:
        """The next block, which is a comment."""
        (line,) = await self.block()
        assert line.startswith(": ")
        return line[2:]

    async def event(self) -> tuple[str, str, Any]:
        """Kind, cursor and data of the next event, past comments."""
        while len(block := await self.block()) == 1:
            pass
        id, kind, *data = (line.partition(": ")[2] for line in block)
        assert all(line.startswith("data:") for line in block[2:]), block
        return kind, id, msgspec.json.decode("\n".join(data))


Start = Callable[..., Awaitable[Notify]]


@pytest.fixture
async def log(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Log]:
    """A log of view changes that the test writes."""
    url = await postgres.create_database()
    async with logs.serving(url, tmp_path / "keys") as log:
        yield log
    await postgres.drop_database(url)


@pytest.fixture
async def start(log: Log, database_url: str) -> AsyncIterator[Start]:
    """Start a notify of the log, once the test wants it, until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> Notify:
            chosen = {
                "database_url": database_url,
                "follow": log.url,
                "port": 0,
                "silence_s": 0.3,
                **settings,
            }
            port = await stack.enter_async_context(notify_app.serving(Settings(**chosen)))
            client = await stack.enter_async_context(aiohttp.ClientSession())
            return Notify(f"http://127.0.0.1:{port}", client)

        yield start


def told(page: dict[str, Any]) -> list[tuple[str, str]]:
    """What a page says happened to which place."""
    return [(change["view"], change["id"]) for change in page["changes"]]


async def test_a_subscriber_is_told_what_happens_to_her_selection(log: Log, start: Start) -> None:
    """A place enters, is updated, leaves by moving away and by being withdrawn, in the order of the log."""
    notify = await start()
    await notify.at("1.0")
    cursors = await log.write(
        [
            log.put(1, IN, name="Le Hub"),
            log.put(2, OUT),
            log.put(1, IN, IN),
            log.put(2, IN, OUT),
            log.put(2, OUT, IN),
            log.remove(1, IN, "merged", place_id(2)),
        ]
    )
    await notify.at(cursors[-1])
    page = await notify.changes("since=0.0&departement=35")
    assert told(page) == [
        ("entered", place_id(1)),
        ("updated", place_id(1)),
        ("entered", place_id(2)),
        ("left", place_id(2)),
        ("left", place_id(1)),
    ]
    first, last = page["changes"][0], page["changes"][-1]
    assert (first["cursor"], first["place"], first["cause"]) == (
        cursors[0],
        {"name": "Le Hub"},
        ["1-0000000000000001"],
    )
    assert (last["place"], last["reason"], last["moved_to"]) == (None, "merged", place_id(2))
    assert (page["cursor"], page["more"]) == (cursors[-1], False)
    assert len((await notify.changes())["changes"]) == 6
    assert told(await notify.changes("departement=35,56&family=coworking")) == []
    assert len((await notify.changes("bbox=-2,48,-1,49&network=" + logs.NETWORK))["changes"]) == 6


async def test_paging_tells_every_change_once(
    log: Log, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small pages over a filter that most changes miss give each match once, and end where the log ends."""
    monkeypatch.setattr(reading, "CHUNK", 7)
    monkeypatch.setattr(reading, "SCANNED", 20)
    notify = await start()
    await notify.at("1.0")
    cursors = await log.write([log.put(n, IN if n % 10 == 0 else OUT) for n in range(1, 101)])
    await _arrived(notify, cursors[-1])
    found, since, pages = [], "0.0", 0
    while True:
        page = await notify.changes(f"departement=35&limit=2&since={since}")
        found += told(page)
        assert page["cursor"] != since
        since, pages = page["cursor"], pages + 1
        if not page["more"]:
            break
    assert found == [("entered", place_id(n)) for n in range(10, 101, 10)]
    assert since == cursors[-1]
    assert pages > 4


async def test_a_page_of_long_places_is_no_longer_than_it_may_be(
    log: Log, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many changes are asked for, a page ends at a size, and the next one goes on there."""
    monkeypatch.setattr(reading, "MOST_BYTES", 1)
    notify = await start()
    await notify.at("1.0")
    cursors = await log.write([log.put(n, IN) for n in range(1, 4)])
    await _arrived(notify, cursors[-1])
    since, found = "1.0", []
    for cursor in cursors:
        page = await notify.changes(f"limit=100&since={since}")
        assert (page["cursor"], page["more"]) == (cursor, cursor != cursors[-1])
        since = page["cursor"]
        found += told(page)
    assert found == [("entered", place_id(n)) for n in range(1, 4)]


async def _arrived(notify: Notify, cursor: str) -> None:
    """Wait until this position of the log is no longer in the future."""
    async with asyncio.timeout(60):
        while (await notify.ask(f"/changes?since={cursor}"))[0] != 200:
            await asyncio.sleep(0.02)


async def test_a_stretch_without_matches_still_moves_the_cursor(
    log: Log, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call looks at a bounded stretch: it comes back empty with a later cursor and says that more is known."""
    monkeypatch.setattr(reading, "CHUNK", 5)
    monkeypatch.setattr(reading, "SCANNED", 10)
    notify = await start()
    await notify.at("1.0")
    cursors = await log.write([log.put(n, OUT) for n in range(1, 31)])
    await _arrived(notify, cursors[-1])
    page = await notify.changes("departement=35&wait=20")
    assert (page["changes"], page["cursor"], page["more"]) == ([], cursors[9], True)


async def test_a_waiting_poll_is_answered_by_the_change(log: Log, start: Start) -> None:
    """A poll that waits comes back with the change when it happens, not with one that does not match."""
    notify = await start()
    await notify.at("1.0")
    waiting = asyncio.create_task(notify.changes("since=1.0&departement=35&wait=20"))
    (other,) = await log.write([log.put(1, OUT)])
    await _arrived(notify, other)
    assert not waiting.done()
    await log.write([log.put(2, IN)])
    async with asyncio.timeout(15):
        assert told(await waiting) == [("entered", place_id(2))]
    page = await notify.changes("since=1.2&wait=0.1")
    assert (page["changes"], page["cursor"], page["more"]) == ([], "1.2", False)


REFUSED = {
    "since=hier": (400, "cursor-malformed"),
    "since=1.01": (400, "cursor-malformed"),
    "since=1.": (400, "cursor-malformed"),
    "since=1.-1": (400, "cursor-malformed"),
    "since=99999999999.1": (400, "cursor-malformed"),
    "since=1.5000": (409, "cursor-in-future"),
    "since=2.0": (409, "cursor-in-future"),
    "since=1.1": (410, "cursor-too-old"),
    "limit=0": (400, "malformed"),
    "wait=31": (400, "malformed"),
    "bbox=1,2,3": (400, "malformed"),
    "bbox=1,2,nan,4": (400, "malformed"),
    "bbox=1,5,3,4": (400, "malformed"),
    "bbox=1,-91,3,4": (400, "malformed"),
    "departement=Ille": (400, "malformed"),
    "couleur=bleu": (400, "malformed"),
    "network=bretagne": (400, "malformed"),
    "since=0.0&since=0.0": (400, "malformed"),
}


async def test_what_cannot_be_answered_is_refused_with_a_reason(log: Log, start: Start) -> None:
    """A cursor that is no position, ahead of the log or before its snapshot, and a wrong filter, are told."""
    await log.write([log.put(n, IN) for n in range(1, 4)])
    notify = await start()
    await notify.at("1.3")
    answers = {query: await notify.ask("/changes?" + query) for query in REFUSED}
    assert {
        q: (status, problem["type"].rpartition(":")[2]) for q, (status, problem) in answers.items()
    } == REFUSED
    assert answers["since=2.0"][1]["head"] == "1.3"
    too_old = answers["since=1.1"][1]
    assert (too_old["floor"], too_old["snapshot"]) == ("1.3", log.url + "/snapshot")


async def test_the_log_of_one_registry_is_told_as_well(log: Log, start: Start) -> None:
    """What a registry said last of a place is what it was: entered, updated with what changed, moved, left."""
    notify = await start()
    await notify.at("1.0")
    uuid = place_id(1).partition(":")[2]
    rennes = {"name": "Le Hub", "status": "open", "address": {"postcode": "35000"}, "families": ["fablab"]}
    quimper = {**rennes, "address": {"postcode": "29000"}}
    for data in (rennes, {**rennes, "summary": "Ouvert"}, quimper):
        await log.write([log.draft(uuid, event.PLACE_PUT, data)])
    await log.write(
        [log.draft(uuid, event.PLACE_WITHDRAW, {"reason": "duplicate", "successor": place_id(2)})]
    )
    await _arrived(notify, "1.4")
    page = await notify.changes("departement=35&family=fablab&network=" + log.node)
    mine = f"{log.node}:{uuid}"
    assert told(page) == [("entered", mine), ("updated", mine), ("left", mine)]
    assert page["changes"][1]["changed"] == {"summary": {"before": None, "after": "Ouvert"}}
    (left,) = (await notify.changes("departement=29&since=1.3"))["changes"]
    assert (left["view"], left["place"], left["reason"], left["moved_to"]) == (
        "left",
        None,
        "duplicate",
        place_id(2),
    )


async def test_whoever_starts_anew_gets_the_places_that_stand(log: Log, start: Start) -> None:
    """After a snapshot each standing place is entered once, page by page, and then come the changes."""
    await log.write(
        [log.put(1, IN), log.put(2, IN), log.put(1, IN, IN), log.remove(2, IN), log.put(3, OUT, IN)]
    )
    notify = await start()
    await notify.at("1.5")
    await log.write([log.put(3, IN, OUT)])
    await _arrived(notify, "1.6")
    page = await notify.changes("limit=1")
    seen, views = [], []
    while page["changes"]:
        seen.append(page["changes"][0]["id"])
        views.append(page["changes"][0]["view"])
        page = await notify.changes(f"limit=1&since={page['cursor']}")
    assert (seen, views) == ([place_id(1), place_id(3), place_id(3)], ["entered", "entered", "updated"])
    assert told(await notify.changes("since=1.5&departement=35")) == [("entered", place_id(3))]


async def test_nothing_is_told_twice_or_lost_across_a_restart(log: Log, database_url: str) -> None:
    """A notify that was away reads on where it stood; the cursors of its subscribers stay good."""
    settings = Settings(database_url=database_url, follow=log.url, port=0)
    seen, since = [], "0.0"
    for round in range(3):
        (*_, last) = await log.write([log.put(10 * round + n, IN) for n in range(1, 6)])
        async with notify_app.serving(settings) as port, aiohttp.ClientSession() as client:
            notify = Notify(f"http://127.0.0.1:{port}", client)
            await _arrived(notify, last)
            page = await notify.changes(f"since={since}")
            seen += [change["id"] for change in page["changes"]]
            since = page["cursor"]
    assert seen == [place_id(10 * round + n) for round in range(3) for n in range(1, 6)]


async def test_what_cannot_be_read_stops_nobody(log: Log, start: Start) -> None:
    """Events of unknown types and broken view events are passed over; the next change is told."""
    notify = await start()
    await notify.at("1.0")
    await log.write(
        [
            log.draft(place_id(1), "org.maillage.weather.put.v1", b'{"rain":true}'),
            log.draft(place_id(2), event.VIEW_PUT, b'{"id":7}'),
            log.draft(place_id(3), event.VIEW_REMOVE, b"[]"),
            log.put(4, IN),
        ]
    )
    await _arrived(notify, "1.4")
    assert told(await notify.changes()) == [("entered", place_id(4))]


async def test_what_networks_are_told_is_no_change(log: Log, start: Start) -> None:
    """A notice to a network is passed over, its content too; the place that follows it is told as it is."""
    notice = {"id": place_id(1), "network": "a" * 26, "items": [], "cause": []}
    await log.write([log.draft(place_id(1), event.VIEW_NOTICE, notice), log.put(1, IN)])
    notify = await start()
    await _arrived(notify, "1.2")
    await log.write([log.draft(place_id(1), event.VIEW_NOTICE, notice), log.put(1, OUT, IN)])
    await _arrived(notify, "1.4")
    assert told(await notify.changes()) == [("entered", place_id(1)), ("updated", place_id(1))]
    assert told(await notify.changes("departement=35")) == [("entered", place_id(1)), ("left", place_id(1))]


async def test_an_erased_place_leaves_no_word_behind(log: Log, start: Start) -> None:
    """Whoever was told of a place is told that it is erased; what was said of it is no longer told."""
    notify = await start()
    await notify.at("1.0")
    await log.write([log.put(1, IN, name="Chez Camille"), log.put(2, OUT)])
    async with log.pool.acquire() as conn:
        raws = [bytes(row["raw"]) for row in await conn.fetch("SELECT raw FROM ledger_event ORDER BY seq")]
    leaf = merkle.leaf(raws[0]).hex()
    await log.write([log.draft(place_id(1), event.RECORD_ERASE, {"leaves": [leaf]})])
    await _arrived(notify, "1.3")
    assert told(await notify.changes("departement=35")) == [("erased", place_id(1))]
    assert "Camille" not in str(await notify.changes())


# --- the stream ------------------------------------------------------------------------------------------


async def test_a_stream_brings_changes_as_they_happen(log: Log, start: Start) -> None:
    """From now on, each change that matches is an event whose id is its cursor; silence is a comment."""
    notify = await start()
    await log.write([log.put(1, IN)])
    await _arrived(notify, "1.1")
    async with notify.stream("departement=35") as stream:
        assert await stream.comment() == "toujours la"
        await log.write([log.put(2, IN, name="Été ☀\n")])
        kind, id, change = await stream.event()
        assert (kind, id, change["cursor"], change["view"]) == ("change", "1.2", "1.2", "entered")
        assert change["place"] == {"name": "Été ☀\n"}


async def test_a_stream_resumes_where_it_was_cut(log: Log, start: Start) -> None:
    """With `Last-Event-ID`, or `since`, what happened in between comes first, all of it and in order."""
    notify = await start()
    await notify.at("1.0")
    await log.write([log.put(n, IN) for n in range(1, 301)])
    await _arrived(notify, "1.300")
    async with notify.stream(last="1.50") as stream:
        assert [(await stream.event())[1] for _ in range(250)] == [f"1.{n}" for n in range(51, 301)]
    async with notify.stream("since=1.299") as stream:
        assert (await stream.event())[1] == "1.300"


async def test_a_filtered_stretch_moves_the_cursor_of_a_stream(log: Log, start: Start) -> None:
    """What does not match is a `checkpoint` with data, so that browsers resume after it."""
    notify = await start()
    await notify.at("1.0")
    async with notify.stream("departement=35", last="0.0") as stream:
        assert (await stream.event())[1] == "1.0"
        await log.write([log.put(1, OUT), log.put(2, OUT)])
        assert await stream.event() == ("checkpoint", "1.2", {"cursor": "1.2"})


@pytest.mark.parametrize(
    ("last", "code"), [("hier", "cursor-malformed"), ("1.99", "cursor-in-future"), ("1.1", "cursor-too-old")]
)
async def test_a_lost_cursor_is_a_reset_instead_of_silence(
    log: Log, start: Start, last: str, code: str
) -> None:
    """A reader who cannot resume is told to read anew, and what happens from then on comes without a gap."""
    await log.write([log.put(n, IN) for n in range(1, 4)])
    notify = await start()
    await notify.at("1.3")
    async with notify.stream(last=last) as stream:
        kind, id, data = await stream.event()
        assert (kind, id, data["code"], data["cursor"]) == ("reset", "1.3", code, "1.3")
        assert data["snapshot"] == log.url + "/snapshot"
        await log.write([log.put(4, IN)])
        assert (await stream.event())[:2] == ("change", "1.4")


async def test_a_reader_who_does_not_read_is_let_go(log: Log, start: Start) -> None:
    """A stream that nobody reads is closed at a bounded buffer; other readers are not slowed."""
    notify = await start(slow_s=2)
    await notify.at("1.0")
    await log.write([log.put(n, IN, description="x" * 40_000) for n in range(1, 501)])
    await _arrived(notify, "1.500")
    url = urlsplit(notify.url)
    with socket.create_connection((url.hostname, url.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /changes/stream?since=0.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        async with notify.stream("since=0.0") as stream:
            assert [(await stream.event())[0] for _ in range(500)] == ["change"] * 500
        async with asyncio.timeout(60):
            while await _streams(notify):
                await asyncio.sleep(0.05)


async def _streams(notify: Notify) -> float:
    async with notify.client.get(notify.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("maillage_notify_streams")).split()[-1])


# --- alone -----------------------------------------------------------------------------------------------


async def test_notify_starts_before_the_log_that_it_follows(database_url: str) -> None:
    """Nobody answers yet: it serves, says so, tells nothing, and asks those with a cursor to come back."""
    settings = Settings(database_url=database_url, follow="http://127.0.0.1:1", port=0)
    async with notify_app.serving(settings) as port, aiohttp.ClientSession() as client:
        notify = Notify(f"http://127.0.0.1:{port}", client)
        status, ready = await notify.ask("/readyz")
        assert (status, ready["log"]) == (200, "absent")
        page = await notify.changes()
        assert (page["changes"], page["cursor"], page["more"]) == ([], "0.0", False)
        assert (await notify.ask("/changes?since=1.7"))[0] == 503
        status, document = await notify.ask("/openapi.json")
        assert {"/changes", "/changes/stream"} <= document["paths"].keys()


async def test_extensions_with_line_feeds_arrive_whole(log: Log, start: Start) -> None:
    """Local fields are kept as they were written: in a stream each of their lines is a line of data."""
    notify = await start()
    await notify.at("1.0")
    raw = b'{"name":"L","status":"open","address":{"postcode":"35000"},"extensions":{"x":{\r\n\n"a" :1}}}'
    async with notify.stream("") as stream:
        await stream.comment()
        await log.write([log.draft(place_id(1).partition(":")[2], event.PLACE_PUT, raw)])
        kind, id, change = await stream.event()
        assert (kind, id, change["place"]["extensions"]) == ("change", "1.1", {"x": {"a": 1}})
