"""What people report of this network's places: what may be sent, how much, how it is answered and how long kept."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Gauge
from uuid_utils import uuid7

from schemas.place import WebUrl
from services import addresses, ledger
from services.errors import Fault, Invalid, NotFound, TooMany
from services.pace import Pace
from services.postgres import Connection
from services.registry import reports_store, store
from services.registry.decide import ERASED, Row
from services.registry.reports_store import Report, State

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

MOST_SENT, PERIOD = 10, 3600.0
# Of so many addresses is known what they sent: of more, who sent last.
MOST_SENDERS = 10_000
# What waits for the coordinator is bounded: a report costs its sender nothing.
MOST_WAITING, MOST_ON_ONE = 1000, 20
ANOTHER_DAY = 86_400
# An answer can be read for so long; what nobody answered is not kept for ever either.
KEPT_CLOSED, KEPT_OPEN = timedelta(days=90), timedelta(days=365)

Kind = Literal["wrong-value", "closed", "duplicate", "missing", "private", "other"]
PlaceId = Annotated[
    str,
    Meta(
        pattern=r"^([a-z2-7]{26}:)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)",
        examples=["a2b3c4d5e6f7a2b3c4d5e6f7a2:01890a5d-ac96-774b-bcce-b302099a8057"],
    ),
]
Email = Annotated[
    str,
    Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$(?!\n)", examples=["contact@exemple.fr"]),
]
Language = Annotated[
    str, Meta(max_length=35, pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$(?!\n)", examples=["fr"])
]


class Sent(Struct, frozen=True):
    """What somebody reports.

    `place` is the full id or the UUID of a place of this network, null where one is missing. `kind`: a value is wrong,
    the place has closed, is listed twice, is missing, something here should not be public, or other. `field` is the
    name of the value and `proposed` what it should be; `page` is where it was seen. `contact` is used to answer only,
    and deleted with the report.
    """

    kind: Kind
    text: Annotated[str, Meta(min_length=1, max_length=2000)]
    place: PlaceId | None = None
    field: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    proposed: Annotated[str, Meta(max_length=2000)] | None = None
    contact: Email | None = None
    language: Language = "fr"
    page: WebUrl | None = None


class Decision(Struct, frozen=True):
    """What becomes of a report: its state, and the answer that its sender reads. What is left out stays."""

    state: State | None = None
    answer: Annotated[str, Meta(max_length=2000)] | None = None


class Door:
    """Where anybody may send a report, not too often. What it knows of addresses is in memory, and no address."""

    def __init__(
        self, proxies: Iterable[str], clock: Callable[[], float], registry: CollectorRegistry
    ) -> None:
        self._proxies = addresses.networks(proxies)
        self._pace = Pace(MOST_SENT, PERIOD, clock, askers=MOST_SENDERS)
        self._salt, self._told = secrets.token_bytes(16), False
        self.waiting = Gauge("maillage_reports_open", "Reports that wait for an answer", registry=registry)

    def admit(self, peer: str, forwarded: str) -> None:
        """Count a report from where it comes; TooMany where that were more than ten within an hour."""
        sender = addresses.sender(peer, forwarded, self._proxies)
        self._look(peer, forwarded, sender)
        if wait := self._pace.wait(blake2b(sender.encode(), key=self._salt, digest_size=16).digest()):
            raise TooMany(
                "{most} reports an hour may be sent from one address. Come back in {seconds} s.",
                {"most": MOST_SENT, "seconds": wait},
                extra={"retry_after": wait},
            )

    def _look(self, peer: str, forwarded: str, sender: str) -> None:
        """Say once that a proxy beside us is not in the settings: all that it brings counts as one sender."""
        if self._told or not forwarded or sender != addresses.sender(peer, "", ()):
            return
        if not addresses.open_to_strangers(peer):
            log.warning("proxy not named", address=peer)
            self._told = True


def checked(sent: Sent, node: str) -> UUID | None:
    """The place that a report is on; Invalid where it says nothing, or does not fit its kind."""
    faults: list[Fault] = []
    owner, colon, id = (sent.place or "").rpartition(":")
    if not sent.text.strip():
        faults.append(Fault("/text", "Something has to stand here."))
    if sent.place is None and sent.kind not in ("missing", "other"):
        faults.append(Fault("/place", "Which place? Only one that is missing here has no id."))
    if sent.place is not None and sent.kind == "missing":
        faults.append(Fault("/place", "A place that is missing here has no id: leave it out."))
    if colon and owner != node:
        faults.append(Fault("/place", "That record belongs to another network."))
    if faults:
        raise Invalid(faults=tuple(faults))
    return UUID(id) if id else None


def hashed(key: str) -> bytes:
    """What is kept of the key that opens an outcome."""
    return sha256(key.encode(errors="surrogateescape")).digest()


async def receive(conn: Connection, sent: Sent, place: UUID | None, key: str, now: datetime) -> Report:
    """Lay a report on the desk. Invalid where there is no such place, TooMany where the desk is full."""
    await _at_home(conn)
    await reports_store.alone(conn)
    waiting = await reports_store.waiting(conn, place)
    if waiting.count >= MOST_WAITING:
        raise _full("{most} reports wait for an answer already. Come back another day.", MOST_WAITING)
    if waiting.here >= MOST_ON_ONE:
        raise _full(
            "{most} reports on this place wait for an answer already. Come back another day.", MOST_ON_ONE
        )
    if place is not None and not _there(await store.rows(conn, [str(place)])):
        raise Invalid(faults=(Fault("/place", "This network has no such place."),))
    report = _new(sent, place, now)
    await reports_store.add(conn, report, hashed(key))
    return report


def _there(rows: Mapping[str, Row]) -> bool:
    return any(row.withdrawn != ERASED for row in rows.values())


def _full(what: str, most: int) -> TooMany:
    return TooMany(what, {"most": most}, extra={"retry_after": ANOTHER_DAY})


def _new(sent: Sent, place: UUID | None, now: datetime) -> Report:
    return Report(
        id=UUID(str(uuid7())),
        place=place,
        kind=sent.kind,
        field=sent.field,
        text=sent.text,
        proposed=sent.proposed,
        contact=sent.contact,
        language=sent.language,
        page=sent.page,
        sent_at=now,
        state="open",
        answer=None,
        closed_at=None,
        closed_by=None,
    )


async def answer(conn: Connection, id: str, decision: Decision, by: str, now: datetime) -> Report:
    """Answer a report, or open it again; NotFound where there is none."""
    if decision == Decision():
        raise Invalid(faults=(Fault("/state", "Give a state, an answer, or both."),))
    await _at_home(conn)
    await reports_store.alone(conn)
    report = await reports_store.report(conn, id)
    if report is None:
        raise NotFound("There is no such report.")
    settled = decided(report, decision, by, now)
    await reports_store.settle(conn, settled)
    return settled


def decided(report: Report, decision: Decision, by: str, now: datetime) -> Report:
    """A report after a decision. It is closed when its state says so first, and stays so while only words change."""
    state = decision.state or report.state
    said = report.answer if decision.answer is None else decision.answer
    if state == "open":
        return replace(report, state=state, answer=said, closed_at=None, closed_by=None)
    closed = report.closed_at if report.state == state else now
    return replace(report, state=state, answer=said, closed_at=closed, closed_by=by)


async def _at_home(conn: Connection) -> None:
    """Unavailable where this node has moved: nobody looks at the desk that it left."""
    head = await ledger.current(conn)
    if head.hold == "moved":
        ledger.writable(head)


async def forget(conn: Connection, now: datetime) -> None:
    """Delete what was closed 90 days ago, and what nobody answered within a year."""
    await reports_store.forget(conn, closed=now - KEPT_CLOSED, sent=now - KEPT_OPEN)


class _Named(Struct, frozen=True):
    name: str = ""


async def named(conn: Connection, reports: Iterable[Report]) -> dict[UUID, str]:
    """The names of the places that these reports are on, by UUID."""
    ids = {str(report.place) for report in reports if report.place is not None}
    rows = await store.rows(conn, list(ids))
    return {UUID(id): msgspec.json.decode(row.body, type=_Named).name for id, row in rows.items()}
