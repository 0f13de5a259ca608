"""What networks publish teaches the matcher: claims and places out of feeds, snapshots and lists of claims."""

from pathlib import Path

import msgspec

from bench.feeding import Log, uuid_of
from bench.labelled import Labelled, read_pairs, read_records
from schemas.event import CLAIM_PUT, CLAIM_WITHDRAW, PLACE_PUT, PLACE_WITHDRAW
from schemas.place import Place

A, B = "a" * 26, "b" * 26


def of(node: str, number: int) -> str:
    """A record of a network."""
    return f"{node}:{uuid_of(f'{node}{number}', number)}"


class Network(Log):
    """A network's log, and the lines of its feed."""

    def feed(self, *said: tuple[str, str, dict[str, object]]) -> list[bytes]:
        """What it publishes of some events: record, type, data."""
        raws = (self.followed(id, type, msgspec.json.encode(data)).raw.decode() for id, type, data in said)
        lines = [msgspec.json.encode({"raw": raw, "kid": "k", "sig": "s"}) for raw in raws]
        redacted = {"redacted": True, "seq": 1, "leaf": "0" * 64}
        return [
            *map(msgspec.json.encode, (redacted, {"epoch": 1, "size": 9})),
            *lines,
            b'{"checkpoint":{}}',
            b"?",
        ]


def claim(id: str, a: str, b: str, verdict: str) -> tuple[str, str, dict[str, object]]:
    """A claim as a network says it."""
    return id, CLAIM_PUT, {"a": a, "b": b, "verdict": verdict}


def put(id: str, name: str) -> tuple[str, str, dict[str, object]]:
    """A place as a network says it."""
    return id, PLACE_PUT, {"name": name, "status": "open", "address": {"postcode": "35000"}}


def labels(tmp_path: Path, lines: list[bytes]) -> list[Labelled]:
    """The pairs that lines teach, whatever records there are."""
    (file := tmp_path / "claims.jsonl").write_bytes(b"\n".join(lines))
    return read_pairs(file, {of(node, n) for node in (A, B) for n in range(9)})


def test_what_networks_say_of_pairs_are_labels(tmp_path: Path) -> None:
    """`same` is a match, `distinct` and `part-of` are not; `contests`, and pairs with an unknown record, are none."""
    a = Network(A)
    verdicts = {1: "same", 2: "distinct", 3: "part-of", 4: "contests"}
    lines = a.feed(*(claim(of(A, 90 + n), of(A, n), of(B, n), said) for n, said in verdicts.items()))
    lines += a.feed(claim(of(A, 95), of(A, 5), of(B, 500), "same"), put(of(A, 1), "Un lieu"))
    found = [(p.pair, p.label) for p in labels(tmp_path, lines)]
    assert found == [
        ((of(A, n), of(B, n)), kind) for n, kind in ((1, "match"), (2, "distinct"), (3, "distinct"))
    ]


def test_the_last_word_counts_and_contradictions_do_not(tmp_path: Path) -> None:
    """Also said anew in another record, or earlier in the file; what is taken back is not said."""
    a, b = Network(A), Network(B)
    first = a.feed(
        claim(of(A, 91), of(A, 1), of(B, 1), "same"),
        claim(of(A, 92), of(A, 2), of(B, 2), "same"),
        claim(of(A, 93), of(A, 3), of(B, 3), "same"),
        claim(of(A, 94), of(B, 4), of(A, 4), "same"),
    )
    then = a.feed(claim(of(A, 96), of(A, 1), of(B, 1), "distinct"), (of(A, 92), CLAIM_WITHDRAW, {}))
    theirs = b.feed(
        claim(of(B, 91), of(B, 3), of(A, 3), "part-of"), claim(of(B, 92), of(B, 5), of(A, 5), "same")
    )
    expected = [Labelled(of(A, 1), of(B, 1), "distinct"), Labelled(of(A, 5), of(B, 5), "match")]
    assert labels(tmp_path, first + then + theirs) == expected
    assert labels(tmp_path, theirs + then + first) == expected


def test_lists_of_claims_are_read_beside_feeds(tmp_path: Path) -> None:
    """An answer of `GET /claims` is a line; where its cursor is later it counts, and else what the feed says."""
    a = Network(A)
    lines = a.feed(claim(of(A, 91), of(A, 1), of(B, 1), "same"), claim(of(A, 92), of(A, 2), of(B, 2), "same"))
    said = [("1.5", 1), ("1.1", 2), ("0.9", 3)]
    listed = [
        {"id": of(A, 90 + n), "cursor": at, "claim": {"a": of(A, n), "b": of(B, n), "verdict": "distinct"}}
        for at, n in said
    ]
    lines.append(msgspec.json.encode({"claims": listed, "next": None}))
    assert [p.label for p in labels(tmp_path, lines)] == ["distinct", "match", "distinct"]


def test_places_come_from_snapshots(tmp_path: Path) -> None:
    """The latest version of each that is there, beside rows that have their own id."""
    a = Network(A)
    lines = a.feed(put(of(A, 1), "Un"), put(of(A, 2), "Deux"), put(of(A, 1), "Un autre"))
    lines += a.feed((of(A, 2), PLACE_WITHDRAW, {"reason": "error"}), (of(A, 3), PLACE_PUT, {"name": 3}))
    lines = [line for line in lines if line != b"?"]
    lines.append(msgspec.json.encode({"id": "x:1", "place": put("", "Rangé")[2]}))
    (file := tmp_path / "places.jsonl").write_bytes(b"\n".join(lines))
    found = read_records(file)
    assert all(isinstance(place, Place) for place in found.values())
    assert {id: place.name for id, place in found.items()} == {of(A, 1): "Un autre", "x:1": "Rangé"}
