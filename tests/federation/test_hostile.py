"""Followed nodes that break, lie or never end: only they stop, and where they stood."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from services import fetching, follow, identity, signing
from tests.conftest import Federation
from tests.federation.impostor import Impostor, ndjson, with_broker
from tests.nodes import Registry, Sync, eventually

Mischief = Callable[[Impostor], None]


@asynccontextmanager
async def served(impostors: Sequence[Impostor]) -> AsyncIterator[dict[str, Impostor]]:
    """All of them at work, by name."""
    async with AsyncExitStack() as stack:
        for impostor in impostors:
            await stack.enter_async_context(impostor.serving())
        yield {impostor.name: impostor for impostor in impostors}


async def stand(sync: Sync, impostors: dict[str, Impostor]) -> dict[str, tuple[str, str]]:
    """State and cursor of each, as the sync's own database has them."""
    networks = await sync.networks()
    return {name: (networks[i.node]["state"], networks[i.node]["cursor"]) for name, i in impostors.items()}


async def all_stand(
    sync: Sync, impostors: dict[str, Impostor], wanted: dict[str, tuple[str, str]], seconds: float = 60
) -> None:
    """Wait until each stands where it is wanted."""
    differ: dict[str, Any] = {}

    async def there() -> bool:
        nonlocal differ
        now = await stand(sync, impostors)
        differ = {name: (now[name], wanted[name]) for name in wanted if now[name] != wanted[name]}
        return not differ

    try:
        await eventually(there, seconds)
    except AssertionError:
        raise AssertionError(f"(is, should be): {differ}") from None


def says_lines(impostor: Impostor, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Serve changed feed pages."""

    async def reply(request: web.Request) -> web.StreamResponse:
        after = int(request.query["after"].partition(".")[2])
        return web.Response(body=ndjson(change(impostor.page(after))))

    impostor.answers["/feed"] = reply


def flips_a_bit(i: Impostor) -> None:
    i.say()
    says_lines(
        i, lambda page: [{**x, "raw": x["raw"].replace("Lieu", "Mieu")} if "raw" in x else x for x in page]
    )


def signs_a_wrong_root(i: Impostor) -> None:
    i.say()
    i.close = {"log_root": "0" * 64}


def leaves_a_hole(i: Impostor) -> None:
    i.say(i.event(id=f"1-{5:016d}", sequence=f"{5:016d}"))


def withholds_a_line(i: Impostor) -> None:
    i.say()
    i.say()
    says_lines(i, lambda page: page[1:])


def writes_for_another(i: Impostor) -> None:
    i.say(i.event(subject="a" * 26 + i.record()[26:]))


def names_another_source(i: Impostor) -> None:
    i.say(i.event(source="urn:maillage:" + "a" * 26))


def invents_a_subject(i: Impostor) -> None:
    i.say(i.event(subject=i.node + ":pas-un-uuid"))


def skips_a_version(i: Impostor) -> None:
    subject = msgspec.json.decode(i.lines[0]["raw"])["subject"]
    i.say(i.event(subject=subject, recordversion=3))


def gives_a_version_that_none_has(i: Impostor) -> None:
    i.say(no_event(i))
    i.say(i.event(recordversion=2**63))


def counts_a_version_back(i: Impostor) -> None:
    i.say(no_event(i))
    i.say(i.event(subject=msgspec.json.decode(i.lines[0]["raw"])["subject"], recordversion=1))


def fills_a_page_beyond_measure(i: Impostor) -> None:
    i.say()
    says_lines(i, lambda page: page[:1] * 1001 + page[-1:])


def signs_badly(i: Impostor) -> None:
    i.say()
    says_lines(i, lambda page: [*page[:-1], {"checkpoint": {**page[-1]["checkpoint"], "sig": "A" * 86}}])


def signs_with_no_base64(i: Impostor) -> None:
    i.say()
    says_lines(i, lambda page: [*page[:-1], {"checkpoint": {**page[-1]["checkpoint"], "sig": "A"}}])


def signs_with_a_strange_key(i: Impostor) -> None:
    i.say()
    says_lines(i, lambda page: [{**page[0], "kid": "0" * 16}, *page[1:]])


def cuts_its_page(i: Impostor) -> None:
    i.say()
    says_lines(i, lambda page: page[:-1])


def cuts_a_line(i: Impostor) -> None:
    i.say()
    i.says("/feed", lambda: ndjson(i.page(3))[:-40])


def says_no_text(i: Impostor) -> None:
    i.say()
    i.says("/feed", b'{"raw":"\xff\xfe"}\n')


def nests_its_page(i: Impostor) -> None:
    i.say()
    i.says("/feed", b'{"raw":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")


def counts_beyond_numbers(i: Impostor) -> None:
    i.say()
    i.close = {"size": 2**70}


def opens_epochs_beyond_numbers(i: Impostor) -> None:
    i.close = {"epoch": 9_999_999_999}


def speaks_as_another(i: Impostor) -> None:
    i.close = {"node": "a" * 26}


def names_a_strange_descriptor(i: Impostor) -> None:
    i.close = {"descriptor": "0" * 64}


def never_ends(i: Impostor) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    i.answers["/feed"] = reply


def zips_half(i: Impostor) -> None:
    i.say()
    i.answers["/feed"] = _encoded(gzip.compress(ndjson(i.page(3)))[:-30])


def _encoded(body: bytes) -> Any:
    async def reply(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    return reply


BROKEN: dict[str, Mischief] = {
    mischief.__name__: mischief
    for mischief in (
        flips_a_bit,
        signs_a_wrong_root,
        leaves_a_hole,
        withholds_a_line,
        writes_for_another,
        names_another_source,
        invents_a_subject,
        skips_a_version,
        gives_a_version_that_none_has,
        counts_a_version_back,
        fills_a_page_beyond_measure,
        signs_badly,
        signs_with_no_base64,
        signs_with_a_strange_key,
        cuts_its_page,
        cuts_a_line,
        says_no_text,
        nests_its_page,
        counts_beyond_numbers,
        opens_epochs_beyond_numbers,
        speaks_as_another,
        names_a_strange_descriptor,
        never_ends,
        zips_half,
    )
}


def fails(i: Impostor) -> None:
    i.says("/feed", b"panne", status=500)


def redirects(i: Impostor) -> None:
    i.says("/feed", b"", status=302, Location=f"{i.url}/ailleurs")


def zips_nonsense(i: Impostor) -> None:
    i.answers["/feed"] = _encoded(b"pas du gzip")


def is_slow(i: Impostor) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    i.answers["/feed"] = reply


def hangs_up(i: Impostor) -> None:
    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    i.answers["/feed"] = reply


def has_lost_its_head(i: Impostor) -> None:
    i.says("/feed", b'{"code":"cursor-in-future"}', status=409)


STALE: dict[str, Mischief] = {
    mischief.__name__: mischief
    for mischief in (fails, redirects, zips_nonsense, is_slow, hangs_up, has_lost_its_head)
}


async def federated(
    federation: Federation, impostors: dict[str, Impostor]
) -> tuple[Registry, Sync, dict[str, Impostor]]:
    """An honest registry, and a sync that listens to it and to all these."""
    honest = await federation.registry(heartbeat_s=1)
    await honest.add(name="Les Honnêtes")
    followed: list[Any] = [*impostors.values(), honest]
    return honest, await federation.sync(followed), impostors


async def test_a_broken_node_stops_alone_where_it_stood(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever two dozen nodes do to their logs, each stops at its cursor as broken, and goes on once it repents."""
    monkeypatch.setattr(fetching, "MOST_PAGE", 8 * 1024 * 1024)
    monkeypatch.setattr(follow, "LONGEST_PAUSE", 1.0)
    async with served([Impostor(name) for name in BROKEN]) as impostors:
        for impostor in impostors.values():
            for _ in range(3):
                impostor.say()
        honest, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(BROKEN, ("live", "1.3")))
        honestly = {name: list(i.lines) for name, i in impostors.items()}
        for name, mischief in BROKEN.items():
            mischief(impostors[name])
        await all_stand(sync, impostors, dict.fromkeys(BROKEN, ("broken", "1.3")))
        assert await sync.metric("maillage_follow_refused_total") >= len(BROKEN)
        added = await honest.add(name="Toujours là")
        await sync.caught_up([honest], 30)
        assert (await sync.get(f"/places/{added['id']}"))["place"]["name"] == "Toujours là"
        await sync.hears(honest.node)
        for name, impostor in impostors.items():
            impostor.lines, impostor.close = honestly[name], {}
            impostor.answers.clear()
            impostor.versions.pop(msgspec.json.decode(impostor.lines[0]["raw"])["subject"])
            impostor.say()
        await all_stand(sync, impostors, dict.fromkeys(BROKEN, ("live", "1.4")))


async def test_a_node_that_does_not_answer_goes_stale_and_comes_back(federation: Federation) -> None:
    """Errors, redirects, endless waiting and lost connections make a node stale after three heartbeats."""
    async with served([Impostor(name, heartbeat_s=1) for name in STALE]) as impostors:
        for impostor in impostors.values():
            impostor.say()
        honest, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(STALE, ("live", "1.1")))
        for name, mischief in STALE.items():
            mischief(impostors[name])
        await eventually(lambda: _stands(sync, impostors["has_lost_its_head"].node, "lagging"))
        await all_stand(sync, impostors, dict.fromkeys(STALE, ("stale", "1.1")))
        await eventually(lambda: _stands(sync, honest.node, "live"))
        assert not [path for path in impostors["redirects"].asked if "ailleurs" in path]
        waiting = STALE.keys() - {"is_slow"}
        for name in waiting:
            impostors[name].answers.clear()
            impostors[name].say()
        wanted = {name: ("live", f"1.{len(impostors[name].lines)}") for name in waiting}
        await all_stand(sync, impostors, wanted)


async def _stands(sync: Sync, node: str, state: str) -> bool:
    return bool((await sync.networks())[node]["state"] == state)


def _deep(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"name": "Puits", "status": "open", "kind": "virtual", "extensions": {"puits": value}}


def unknown_type(i: Impostor, **other: Any) -> bytes:
    return i.event(type="org.maillage.place.put.v2", data={"nouveau": True}, **other)


def nul(i: Impostor, **other: Any) -> bytes:
    return i.event(data={"name": "Nul\0", "status": "open", "kind": "virtual"}, **other)


def deep(i: Impostor, **other: Any) -> bytes:
    return i.event(data=_deep(90), **other)


def abyss(i: Impostor, **other: Any) -> bytes:
    return i.event(text=b"[" * 20_000 + b"]" * 20_000, **other)


def no_event(i: Impostor, **other: Any) -> bytes:
    return b'{"quoi":1}'


def no_place(i: Impostor, **other: Any) -> bytes:
    return i.event(data={"nom": "Sans nom"}, **other)


def out_of_range(i: Impostor, **other: Any) -> bytes:
    return i.event(data={"name": "Loin", "status": "open", "position": {"lat": 1e300, "lon": 0}}, **other)


def overlong(i: Impostor, **other: Any) -> bytes:
    return _long(i, 49 * 1024, **other)


def endless(i: Impostor, **other: Any) -> bytes:
    return _long(i, 257 * 1024, **other)


def _long(i: Impostor, size: int, **other: Any) -> bytes:
    place = {"name": "Long", "status": "open", "kind": "virtual", "extensions": {"long": "x" * size}}
    return i.event(data=place, **other)


UNUSABLE: dict[str, tuple[Callable[..., bytes], int, int]] = {
    said.__name__: (said, opaque, refused)
    for said, opaque, refused in (
        (unknown_type, 1, 0),
        (nul, 1, 1),
        (deep, 1, 1),
        (abyss, 1, 1),
        (no_event, 1, 0),
        (overlong, 1, 1),
        (endless, 1, 0),
        (no_place, 0, 1),
        (out_of_range, 0, 1),
    )
}


async def test_what_cannot_be_read_is_kept_counted_and_passed_over(federation: Federation) -> None:
    """Well-signed events that this version cannot use are stored, and hold up nothing that comes after them."""
    async with served([Impostor(name) for name in UNUSABLE]) as impostors:
        for impostor in impostors.values():
            impostor.say()
        honest, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(UNUSABLE, ("live", "1.1")))
        for name, (said, _, _) in UNUSABLE.items():
            impostors[name].say(said(impostors[name]))
            impostors[name].say()
        await all_stand(sync, impostors, dict.fromkeys(UNUSABLE, ("live", "1.3")))
        networks = await sync.networks()
        counts = {n: (networks[i.node]["opaque"], networks[i.node]["refused"]) for n, i in impostors.items()}
        assert counts == {name: (opaque, refused) for name, (_, opaque, refused) in UNUSABLE.items()}
        assert (await sync.caught_up([honest]))["count"] == 1 + 2 * len(UNUSABLE)


async def test_a_record_that_becomes_unreadable_leaves_the_view_on_every_sync(federation: Federation) -> None:
    """Where the latest version cannot be read, a sync that knew the one before and one that did not agree."""
    known = {name: case for name, case in UNUSABLE.items() if name not in ("no_event", "endless")}
    async with served([Impostor(name) for name in known]) as impostors:
        for impostor in impostors.values():
            impostor.say()
        honest, before, _ = await federated(federation, impostors)
        await all_stand(before, impostors, dict.fromkeys(known, ("live", "1.1")))
        assert (await before.caught_up([honest]))["count"] == 1 + len(known)
        for name, (said, _, _) in known.items():
            impostor = impostors[name]
            impostor.say(said(impostor, subject=impostor.subjects[impostor.lines[0]["raw"]]))
        await all_stand(before, impostors, dict.fromkeys(known, ("live", "1.2")))
        followed: list[Any] = [*impostors.values(), honest]
        late = await federation.sync(followed)
        await all_stand(late, impostors, dict.fromkeys(known, ("live", "1.2")))
        await late.caught_up([honest])
        assert (await late.digest())["count"] == 1
        assert (await before.digest())["view_root"] == (await late.digest())["view_root"]


def bad_snapshots() -> dict[str, Callable[[Impostor], None]]:
    """What can be wrong with a node that was never heard before."""

    def repeats(i: Impostor) -> None:
        i.says("/snapshot", lambda: i.snapshot([i.latest()[0]] * 3))

    def misses_one(i: Impostor) -> None:
        i.says("/snapshot", lambda: i.snapshot(i.latest()[1:]))

    def wrong_state(i: Impostor) -> None:
        i.says("/snapshot", lambda: i.snapshot(state_root="0" * 64))

    def no_state(i: Impostor) -> None:
        i.says("/snapshot", lambda: i.snapshot(state_root=None, count=None))

    def cut(i: Impostor) -> None:
        i.says("/snapshot", lambda: i.snapshot()[:-20])

    def empty(i: Impostor) -> None:
        i.says("/snapshot", b"")

    def nonsense(i: Impostor) -> None:
        i.says("/snapshot", b"<html>\n")

    def other_number(i: Impostor) -> None:
        i.say(i.event(id=f"1-{1:016d}", sequence=f"{1:016d}"))

    def huge_version(i: Impostor) -> None:
        i.say(i.event(recordversion=2**63 - 1))
        i.say(i.event(recordversion=2**64))

    def no_descriptor(i: Impostor) -> None:
        i.says("/descriptors", b"")

    def half_a_key(i: Impostor) -> None:
        raw = i.chain[0].raw.replace(i.chain[0].raw.split('"root_keys":["')[1][:43], "A")
        i.says("/descriptors", msgspec.json.encode({"raw": raw, "signatures": []}) + b"\n")

    def another_node(i: Impostor) -> None:
        other = Impostor("autre")
        i.says("/descriptors", msgspec.json.encode(other.chain[0]) + b"\n")

    def deep_descriptor(i: Impostor) -> None:
        i.says("/descriptors", b'{"raw":"' + b"[" * 200_000 + b'","signatures":[]}\n')

    def one_key_twice(i: Impostor) -> None:
        said = msgspec.json.decode(i.chain[0].raw)
        said["signing_keys"] *= 2
        i.chain[0] = identity.signed(msgspec.json.encode(said), [i.root])
        i.node = signing.node_id(i.chain[0].raw.encode())

    def a_key_by_a_false_name(i: Impostor) -> None:
        said = msgspec.json.decode(i.chain[0].raw)
        said["signing_keys"][0]["kid"] = "0" * 16
        i.chain[0] = identity.signed(msgspec.json.encode(said), [i.root])
        i.node = signing.node_id(i.chain[0].raw.encode())

    def a_book_of_descriptors(i: Impostor) -> None:
        i.says("/descriptors", b"".join(msgspec.json.encode(d) + b"\n" for d in i.chain * 1001))

    return {f.__name__: f for f in (
        one_key_twice, a_key_by_a_false_name, a_book_of_descriptors,
        repeats, misses_one, wrong_state, no_state, cut, empty, nonsense, other_number, huge_version,
        no_descriptor, half_a_key, another_node, deep_descriptor,
    )}  # fmt: skip


async def test_a_node_that_lies_from_the_start_never_enters(federation: Federation) -> None:
    """A first word that does not prove is broken at 0.0: nothing of it is in the view, others are."""
    cases = bad_snapshots()
    async with served([Impostor(name) for name in cases]) as impostors:
        for name, impostor in impostors.items():
            impostor.say()
            impostor.say()
            cases[name](impostor)
        honest, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(cases, ("broken", "0.0")))
        assert (await sync.caught_up([honest]))["count"] == 1


async def test_strange_words_of_a_node_about_itself_hurt_nobody(federation: Federation) -> None:
    """A date that is none, a heartbeat of ages, a broker that is none: the places are followed all the same."""
    async with asyncio.timeout(60), babbling() as (babbler, met):
        strange = [
            Impostor("date", created="avant-hier"),
            Impostor("no zone", created="2026-01-01T00:00:00"),
            Impostor("never", heartbeat_s=10**15),
            *(Impostor(url, amqp=with_broker(url)) for url in (
                "", "http://127.0.0.1/", "amqp://[::1", "amqp://127.0.0.1:99999999/", "amqp:///x",
                "amqps://127.0.0.1:1/?cafile=/etc/passwd&heartbeat=x&connection_timeout=y",
                babbler,
            )),
            Impostor("long", amqp=with_broker(babbler, "é" * 500)),
        ]  # fmt: skip
        async with served(strange) as impostors:
            for impostor in strange:
                impostor.say()
            honest, sync, _ = await federated(federation, impostors)
            await all_stand(sync, impostors, dict.fromkeys(impostors, ("live", "1.1")))
            assert (await sync.caught_up([honest]))["count"] == 1 + len(strange)
            await eventually(met)
            for impostor in strange:
                impostor.say()
            await all_stand(sync, impostors, dict.fromkeys(impostors, ("live", "1.2")))


@asynccontextmanager
async def babbling() -> AsyncIterator[tuple[str, Callable[[], Any]]]:
    """A server that speaks no AMQP; its address, and whether somebody called twice."""
    calls = 0

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.write(b"\x01\x00\x00\xff\xff\xff\xff" + b"bla" * 1000)
        writer.close()

    async def twice() -> bool:
        return calls >= 2

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        yield f"amqp://lecture:x@127.0.0.1:{server.sockets[0].getsockname()[1]}/x", twice


async def test_a_node_that_answers_at_once_is_not_asked_without_end(federation: Federation) -> None:
    """A node that never lets a reader wait, and says that there is more without showing it, is asked slowly."""
    async with served([Impostor("hâte")]) as impostors:
        hasty = impostors["hâte"]
        hasty.say()
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, {"hâte": ("live", "1.1")})
        hasty.say()
        says_lines(hasty, lambda page: page[-1:])
        hasty.asked.clear()
        began = asyncio.get_running_loop().time()

        async def asked() -> bool:
            return len(hasty.asked) >= 6

        await eventually(asked)
        assert asyncio.get_running_loop().time() - began > 1.5
