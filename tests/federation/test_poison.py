"""Events that are well signed and poisonous: kept as they came, counted, passed over, alike on every sync."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.event import AREA_PUT, CLAIM_PUT, PLACE_WITHDRAW, VOCABULARY_PUT
from services import proofs
from services.notify import app as notify_app
from services.notify.settings import Settings
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import all_stand, federated, served
from tests.nodes import Sync, eventually
from tests.notify.test_changes import Notify

Poison = Callable[..., bytes]
HERE = b'"status":"open","kind":"virtual"'
LARGEST = 2**53


def data(text: bytes) -> Poison:
    """An event with this text in the place of its data."""
    return lambda i, **other: i.event(text=text, **other)


def place(fields: bytes) -> Poison:
    """A place with these members beside those that it needs."""
    return data(b'{"name":"Poison",%b,%b}' % (HERE, fields))


def local(value: bytes) -> Poison:
    """A place with this as a field of its own."""
    return place(b'"extensions":{"essai":{"x":%b}}' % value)


def said(**other: Any) -> Poison:
    """An event whose envelope says something else."""
    return lambda i, **more: i.event(**{**more, **other})


def again(key: bytes, value: bytes) -> Poison:
    """An event whose envelope names something a second time."""

    def poison(i: Impostor, **other: Any) -> bytes:
        raw = i.event(**other)
        twice = b'{"%b":%b,' % (key, value) + raw[1:]
        i.subjects[twice.decode()] = i.subjects.pop(raw.decode())
        return twice

    return poison


def around(before: bytes, after: bytes) -> Poison:
    """An event between other bytes."""

    def poison(i: Impostor, **other: Any) -> bytes:
        raw = i.event(**other)
        return before + raw + after

    return poison


# Nobody can tell even whose these are.
NAMELESS: dict[str, Poison] = {
    "no object": lambda i, **_: b"[]",
    "a number": lambda i, **_: b"1e999",
    "nothing": lambda i, **_: b"",
    "blank": lambda i, **_: b" ",
    "half of one": lambda i, **other: i.event(**other)[:-20],
    "a mark before": around("\ufeff".encode(), b""),
    "two of them": around(b"", b"{}"),
    "NaN around": around(b"NaN", b""),
    "epoch as text": said(epoch="1"),
    "half an epoch": said(epoch=1.5),
    "version as text": said(recordversion="2"),
    "version of minus one": said(recordversion=-1),
    "sequence as number": said(sequence=3),
    "time as number": said(time=1_700_000_000),
    "time without end": said(time="2" * 5000),
    "salt of spaces": said(salt="   "),
    "no type": said(type=None),
    "endless type": said(type="x" * 5000),
    "half a character": again(b"time", rb'"\ud800"'),
    "an abyss without end": local(b"[" * 20_000),
}

# Well written, and no place.
NO_PLACE: dict[str, Poison] = {
    "null": data(b"null"),
    "list": data(b"[]"),
    "text": data(b'"lieu"'),
    "number": data(b"7"),
    "empty": data(b"{}"),
    "name is no text": data(b'{"name":{"fr":"Lieu"},%b}' % HERE),
    "name is endless": data(b'{"name":"' + b"x" * 20_000 + b'",%b}' % HERE),
    "status of its own": data(b'{"name":"L","status":"ouvert","kind":"virtual"}'),
    "position in a list": place(b'"position":[48.1,-1.6]'),
    "position as text": place(b'"position":{"lat":"48.1","lon":-1.6}'),
    "beyond the pole": place(b'"position":{"lat":90.0000001,"lon":0}'),
    "a list where a word is": place(b'"summary":["a"]'),
    "a word where a list is": place(b'"families":"fablab"'),
    "surface of a planet": place(b'"surface":{"built_m2":1e300}'),
    "surface below nothing": place(b'"surface":{"built_m2":-1}'),
    "a day that is none": place(b'"verified_on":"2024-02-30T00:00:00"'),
}

# Whose they are can be told, what they say cannot: two readers may read it differently, or not at all.
UNCLEAR: dict[str, Poison] = {
    "name twice": data(b'{"name":"Un","name":"Deux",%b}' % HERE),
    "name twice, far apart": data(b'{"name":"Un",%b,"summary":"x","name":"Un"}' % HERE),
    "name twice, disguised": data(b'{"name":"Un","n\\u0061me":"Deux",%b}' % HERE),
    "name twice, with a space": data(b'{"name":"Un","name" :"Deux",%b}' % HERE),
    "local field twice": place(b'"extensions":{"essai":{"x":1,"x":2}}'),
    "data twice": again(b"data", b'{"name":"Premier",%b}' % HERE),
    "type twice": again(b"type", b'"org.maillage.place.withdraw.v1"'),
    "version twice": again(b"recordversion", b"77"),
    # Numbers that not every reader has.
    "beyond 2^53": local(b"%d" % (LARGEST + 1)),
    "below -2^53": local(b"-%d" % (LARGEST + 1)),
    "beyond 2^63": local(b"%d" % 2**63),
    "beyond 2^64": local(b"%d" % 2**64),
    "four hundred digits": local(b"9" * 400),
    "ten thousand digits": local(b"9" * 10_000),
    "1e999": local(b"1e999"),
    "-1e999": local(b"-1e999"),
    "1e9999999999": local(b"1e9999999999"),
    "deep down": local(b'[[[{"a":[[[[%d]]]]}]]]' % (LARGEST + 1)),
    # What is no JSON at all.
    "NaN": local(b"NaN"),
    "Infinity": local(b"-Infinity"),
    "leading zero": local(b"01"),
    "plus": local(b"+1"),
    "hexadecimal": local(b"0x1"),
    "half a number": local(b"1."),
    "single quotes": local(b"'x'"),
    "trailing comma": local(b"[1,]"),
    "comment": local(b"1/*x*/"),
    "control character": local(b'"a\x01b"'),
    "line feed in a text": local(b'"a\nb"'),
    "escape of its own": local(rb'"\x41"'),
    "half a character, high": local(rb'"\ud800 et la suite"'),
    "half a character, low": local(rb'"\udc00 et la suite"'),
    "halves the wrong way": local(rb'"\udc00\ud800 et la suite"'),
    "half a character as a name": place(rb'"extensions":{"essai":{"\ud800 et la suite":1}}'),
    "half a character twice": place(rb'"extensions":{"essai":{"\ud800abcdefgh":1,"\ud800abcdefgh":2}}'),
    "NUL": local(rb'"a\u0000b"'),
    "eighty-one levels": local(b"[" * 81 + b"]" * 81),
    "an abyss": local(b"[" * 20_000 + b"]" * 20_000),
}

# Strange, and right: everybody reads the same.
STRANGE: dict[str, Poison] = {
    "2^53": local(b"%d" % LARGEST),
    "-2^53": local(b"-%d" % LARGEST),
    "large and no whole number": local(b"9007199254740993.0"),
    "1e308": local(b"1e308"),
    "1e-400": local(b"1e-400"),
    "minus nothing": local(b"-0.0"),
    "emoji": local('"🏴‍☠️"'.encode()),
    "emoji, escaped": local(rb'"\ud83d\ude00"'),
    "right to left": local('"\u202eabc"'.encode()),
    "no character": local(b'"\xef\xbf\xbf"'),
    "braces in a text": local(b'"' + b"{[" * 200 + b'"'),
    "spaces everywhere": local(b' {\r\n\t "a" : [ 1 , 2 ]\r\n} '),
    "a name of nothing": local(b'{"":1}'),
    "a name of Python": local(b'{"__class__":{"__init__":1}}'),
    "sixty levels": local(b"[" * 60 + b"]" * 60),
    "many names": local(b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(500)) + b"}"),
    "field from the future": place(b'"colour":{"a":[1,2,{"b":null}]}'),
    "envelope from the future": again(b"colour", b"[1]"),
    "time of no clock": said(time="hier soir"),
    "time of the year 0": said(time="0000-00-00T00:00:00Z"),
    "time of the year 9999": said(time="9999-12-31T23:59:60Z"),
    "another specversion": said(specversion="9.9"),
}

# Of other records than places: what they say is no place, and holds nobody up.
OTHERS: dict[str, Poison] = {
    f"{kind.split('.')[2]} {name}": lambda i, kind=kind, text=text, **other: i.event(
        type=kind, text=text, **other
    )
    for kind in (CLAIM_PUT, VOCABULARY_PUT, AREA_PUT, PLACE_WITHDRAW)
    for name, text in {
        "null": b"null",
        "text": b'"x"',
        "strange": b'{"a":{"b":[]},"b":7,"verdict":["same"],"terms":{"x":1},"geometry":[],"reason":{}}',
        "twice": b'{"reason":"other","reason":"other"}',
        "huge": b'{"statement":%d,"reason":"%b"}' % (2**70, b"x" * 9000),
        "half a character": rb'{"reason":"\ud800 et la suite","statement":"\ud800 et la suite"}',
    }.items()
}
SHOWN, GONE, UNKNOWN = 200, 410, 404
# By node: its poisons; what becomes of a place that had been good, and of one that never was; whether each
# counts as an event that cannot be used, and as a record left unread.
CASES: dict[str, tuple[dict[str, Poison], tuple[set[int], set[int]], tuple[int, int] | None]] = {
    "nameless": (NAMELESS, ({SHOWN}, {UNKNOWN}), (1, 0)),
    "no place": (NO_PLACE, ({GONE}, {UNKNOWN, GONE}), (0, 1)),
    "unclear": (UNCLEAR, ({GONE}, {UNKNOWN, GONE}), (1, 1)),
    "strange": (STRANGE, ({SHOWN}, {SHOWN}), (0, 0)),
    "others": (OTHERS, ({GONE}, {UNKNOWN, GONE}), None),
}
FACES = (
    "/collections/places/items?limit=1000",
    "/collections/places/items?q=lieu",
    "/networks",
    "/snapshot",
    "/digest/buckets",
    "/metrics",
)


class Node(Impostor):
    """A node with a good place for each poison, which the poison is to change; and it says the poison anew."""

    def settle(self, poisons: dict[str, Poison]) -> None:
        """Say the good places."""
        self.poisons, self.places = poisons, {name: (self.record(), self.record()) for name in poisons}
        for good, _ in self.places.values():
            self.say(self.event(subject=good))

    def swallow(self) -> None:
        """Say every poison, as the next version of its good place and as a new record; then something good."""
        for name, subjects in self.places.items():
            for subject in subjects:
                self._say_poison(self.poisons[name], subject)
        self.say()

    def _say_poison(self, poison: Poison, subject: str) -> None:
        before = self.versions.get(subject, 0)
        raw = poison(self, subject=subject)
        if proofs._event(raw)[0] is None:
            # No version of any record that others know of: no snapshot could hold it.
            self.subjects.pop(raw.decode(), None)
            self.versions[subject] = before
        self.say(raw)


def where(nodes: dict[str, Node]) -> dict[str, tuple[str, str]]:
    """All of them live, and followed to their ends."""
    return {name: ("live", f"1.{len(node.lines)}") for name, node in nodes.items()}


async def look_everywhere(sync: Sync, nodes: dict[str, Node]) -> dict[tuple[str, str], tuple[int, int]]:
    """What is answered for the two places of each poison; whatever is asked, nothing is a fault of ours."""
    for face in FACES:
        assert (await sync.call("GET", face, token=None))[0] == 200, face
    return {
        (kind, name): tuple([(await sync.call("GET", f"/places/{id}", token=None))[0] for id in both])  # type: ignore[misc]
        for kind, node in nodes.items()
        for name, both in node.places.items()
    }


def shown(found: dict[tuple[str, str], tuple[int, int]]) -> dict[tuple[str, str], tuple[bool, bool]]:
    """Which of the two places of each poison are there."""
    return {case: (one == SHOWN, other == SHOWN) for case, (one, other) in found.items()}


async def counted(sync: Sync, nodes: dict[str, Node]) -> dict[str, tuple[int, int]]:
    """How many events of each node cannot be used, and how many of its records are left unread."""
    networks = await sync.networks()
    return {name: (networks[i.node]["opaque"], networks[i.node]["refused"]) for name, i in nodes.items()}


async def test_poison_is_kept_counted_and_passed_over_alike(federation: Federation) -> None:
    """Whatever is wrong in an event, those after it are read; a sync that was there and a late one agree."""
    nodes = {kind: Node(kind) for kind in CASES}
    async with served(list(nodes.values())) as impostors:
        for kind, node in nodes.items():
            node.settle(CASES[kind][0])
        honest, there, _ = await federated(federation, impostors)
        await all_stand(there, impostors, where(nodes))
        assert set((await look_everywhere(there, nodes)).values()) == {(SHOWN, UNKNOWN)}
        for node in nodes.values():
            node.swallow()
        await all_stand(there, impostors, where(nodes))
        found = await look_everywhere(there, nodes)
        assert not {
            case: answers
            for case, answers in found.items()
            if not all(a in may for a, may in zip(answers, CASES[case[0]][1], strict=True))
        }
        counts = await counted(there, nodes)
        for kind, (poisons, _, each) in CASES.items():
            if each is not None:
                assert counts[kind] == tuple(2 * len(poisons) * one for one in each), kind
        everybody: list[Any] = [*nodes.values(), honest]
        late = await federation.sync(everybody)
        await all_stand(late, impostors, where(nodes))
        digests = [await sync.caught_up([honest]) for sync in (there, late)]
        assert digests[0] == digests[1]
        # What it has never shown it cannot say to be gone.
        seen = await look_everywhere(late, nodes)
        assert shown(seen) == shown(found)
        # A snapshot holds the latest of each record only, and no event of nobody.
        again = await counted(late, nodes)
        assert again == {**counts, "nameless": (0, 0)}


async def test_a_notify_passes_poison_over_too(federation: Federation) -> None:
    """A notify that follows a node of poisons tells of what can be read, on to the last good word."""
    node = Node("tout")
    async with served([node]):
        node.settle({**UNCLEAR, **NO_PLACE, **STRANGE, **OTHERS})
        settings = Settings(database_url=await federation.database(), follow=node.url, port=0)
        async with notify_app.serving(settings) as port:
            notify = Notify(f"http://127.0.0.1:{port}", federation.client)
            await eventually(lambda: live(notify))
            node.swallow()
            last = f"1.{len(node.lines)}"

            async def told() -> bool:
                return (await notify.ask(f"/changes?since={last}"))[0] == 200

            await eventually(told)
            since, ids = f"1.{len(node.places)}", []
            while since != last:
                page = await notify.changes(f"since={since}&limit=1000")
                ids += [change["id"] for change in page["changes"]]
                since = page["cursor"]
            strange = {id for name, both in node.places.items() if name in STRANGE for id in both}
            assert strange <= set(ids)
            assert ids[-1] == node.subjects[node.lines[-1]["raw"]]


async def live(notify: Notify) -> bool:
    """Whether the log is followed."""
    return bool((await notify.ask("/readyz"))[1]["log"] == "live")
