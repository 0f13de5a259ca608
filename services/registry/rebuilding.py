"""The rows of a registry made again from its log: after a cut, an erasure, or in an empty database."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from schemas import event
from schemas.claim import Claim
from schemas.event import Event, Withdrawal
from schemas.place import Place
from schemas.vocabulary import Area, Term
from services import ledger_repair_store
from services.canonical import fold
from services.ledger_repair_store import Standing
from services.postgres import Connection
from services.registry import reports_store, store
from services.registry.decide import ERASED, Row, pair, word

AT_ONCE = 500


async def rebuild(conn: Connection) -> None:
    """Make all rows again."""
    last = ""
    while records := await ledger_repair_store.records_after(conn, last, AT_ONCE):
        await remade(conn, records)
        last = records[-1]


class Made(Struct, frozen=True):
    """Rows as the log has them: erased records, places, and others with kind and key."""

    erased: list[Row]
    places: list[tuple[Row, Place]]
    others: list[tuple[Row, str, str]]


def made(standing: Sequence[Standing]) -> Made:
    """The rows of these records, from their events alone."""
    gone = [s for s in standing if s.type == event.RECORD_ERASE or not s.put]
    kept = [s for s in standing if s not in gone]
    return Made(
        erased=[_row(s) for s in gone],
        places=[
            (_row(s), msgspec.json.decode(_data(s.put), type=Place)) for s in kept if ".place." in s.type
        ],
        others=[(_row(s), *_named(s)) for s in kept if ".place." not in s.type],
    )


async def rewound(conn: Connection, records: Sequence[str]) -> None:
    """Make rows again that have lost their last events: what lists said of them is no longer so."""
    await remade(conn, records)
    await store.say_again(conn, [_id(r) for r in records])
    await store.forget_answers_beyond(conn)


async def remade(conn: Connection, records: Sequence[str]) -> None:
    """Make the rows of these records again as the log has them; those that it has not any more go."""
    standing = await ledger_repair_store.standing(conn, records)
    there, rows = {s.record for s in standing}, made(standing)
    await store.drop_rows(conn, [_id(r) for r in records])
    await store.forget_lists(conn, [_id(r) for r in records if r not in there])
    await store.save_erased(conn, rows.erased)
    await reports_store.drop_about(conn, [row.id for row in rows.erased])
    if rows.places:
        await store.save_places(conn, rows.places)
    if rows.others:
        await store.save_others(conn, rows.others)


def _id(record: str) -> str:
    return record.rpartition(":")[2]


def _data(raw: bytes) -> Raw:
    return msgspec.json.decode(raw, type=Event).data


def _named(s: Standing) -> tuple[str, str]:
    """Kind and key of a claim, a word or an area."""
    kind, data = s.type.split(".")[2], _data(s.put)
    if kind == "claim":
        claim = msgspec.json.decode(data, type=Claim)
        return kind, pair(claim.a, claim.b)
    if kind == "vocabulary":
        return kind, word(msgspec.json.decode(data, type=Term))
    return kind, fold(msgspec.json.decode(data, type=Area).name)


def _row(s: Standing) -> Row:
    erased = s.type == event.RECORD_ERASE or not s.put
    taken = msgspec.json.decode(_data(s.raw), type=Withdrawal) if ".withdraw." in s.type and s.raw else None
    return Row(
        id=_id(s.record),
        version=s.version,
        epoch=s.epoch,
        seq=s.seq,
        updated_at=s.time,
        body=b"{}" if erased else bytes(_data(s.put)),
        withdrawn=ERASED if erased else taken.reason if taken else None,
        successor=taken.successor if taken else None,
    )
