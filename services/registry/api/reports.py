"""`/reports`: what anybody reports of this network's places. For the coordinator and its sender, and never public."""

import secrets
from datetime import datetime
from typing import Annotated
from uuid import UUID

from aiohttp import web
from msgspec import Meta, Struct

from services import http, ledger, pages
from services.errors import NotFound
from services.http import Role, Route
from services.ledger import stamp
from services.registry import reports, reports_store
from services.registry.api import records
from services.registry.context import DOOR, NODE, POOL
from services.registry.reports import KEPT_CLOSED, Decision, Sent
from services.registry.reports_store import Report, State

# The key stands in the address.
SECRET = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class Received(Struct, frozen=True):
    """A report that was taken: `link` shows its outcome to whoever has it, and is told this once."""

    id: UUID
    state: State
    sent_at: str
    link: str


class Outcome(Struct, frozen=True):
    """What became of a report, for its sender: the answer, and until when it can be read."""

    id: UUID
    place: str | None
    kind: str
    state: State
    sent_at: str
    closed_at: str | None
    answer: str | None
    kept_until: str | None


class ShownReport(Struct, frozen=True):
    """A report as it lies on the desk; `name` is that of the place now."""

    id: UUID
    place: str | None
    name: str | None
    kind: str
    field: str | None
    text: str
    proposed: str | None
    contact: str | None
    language: str
    page: str | None
    sent_at: str
    state: State
    answer: str | None
    closed_at: str | None
    closed_by: str | None


class ListedReports(Struct, frozen=True):
    """A page of reports; `next` is the token of the next one."""

    reports: list[ShownReport]
    next: str | None


class Listing(Struct, frozen=True):
    """Which reports to list."""

    state: State | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: str | None = None


class Opening(Struct, frozen=True):
    """The key that was given to who sent the report."""

    key: str | None = None


async def send_report(request: web.Request) -> web.Response:
    """Report what is wrong with a place, or a place that is missing; anybody may, from the page of any site.

    The report is read by this network alone. Ten an hour may be sent from one address.
    """
    sent = await http.read(request, Sent)
    place = reports.checked(sent, request.app[NODE])
    request.app[DOOR].admit(request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", ())))
    key = secrets.token_urlsafe(32)
    async with request.app[POOL].acquire() as conn, conn.transaction():
        report = await reports.receive(conn, sent, place, key, ledger.clock())
        waiting = await reports_store.waiting(conn)
    request.app[DOOR].waiting.set(waiting.count)
    received = Received(report.id, report.state, stamp(report.sent_at), f"/reports/{report.id}?key={key}")
    return http.reply(received, 201, headers={"Location": f"/reports/{report.id}", **SECRET})


async def show_report(request: web.Request) -> web.Response:
    """A report for the desk; with its `key`, what became of it, as a page for browsers."""
    id, key = records.own_id(request), http.asked(request, Opening).key
    async with request.app[POOL].acquire() as conn:
        if key is not None:
            return _told(request, await reports_store.opened(conn, id, reports.hashed(key)))
        report = await reports_store.report(conn, id)
        if report is None:
            raise NotFound("There is no such report.")
        names = await reports.named(conn, [report])
    return http.reply(_shown(request, report, names), headers=SECRET)


def _told(request: web.Request, report: Report | None) -> web.Response:
    if report is None:
        raise NotFound("There is no such report.")
    outcome = Outcome(
        id=report.id,
        place=_full_id(request, report),
        kind=report.kind,
        state=report.state,
        sent_at=stamp(report.sent_at),
        closed_at=_stamp(report.closed_at),
        answer=report.answer,
        kept_until=_stamp(report.closed_at and report.closed_at + KEPT_CLOSED),
    )
    if pages.wanted(request):
        response = pages.page(request, "report.html", report=outcome)
        response.headers.update(SECRET)
        return response
    return http.reply(outcome, headers=SECRET)


def _full_id(request: web.Request, report: Report) -> str | None:
    return None if report.place is None else records.full_id(request, str(report.place))


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else stamp(moment)


def _shown(request: web.Request, report: Report, names: dict[UUID, str]) -> ShownReport:
    return ShownReport(
        id=report.id,
        place=_full_id(request, report),
        name=names.get(report.place) if report.place else None,
        kind=report.kind,
        field=report.field,
        text=report.text,
        proposed=report.proposed,
        contact=report.contact,
        language=report.language,
        page=report.page,
        sent_at=stamp(report.sent_at),
        state=report.state,
        answer=report.answer,
        closed_at=_stamp(report.closed_at),
        closed_by=report.closed_by,
    )


async def list_reports(request: web.Request) -> web.Response:
    """Reports, all or of one state, the first that was sent first."""
    asked = http.asked(request, Listing)
    after = records.after_page(asked.page)
    async with request.app[POOL].acquire() as conn:
        rows = await reports_store.listed(conn, asked.state, after=after, limit=asked.limit + 1)
        names = await reports.named(conn, rows)
    page, token = records.paged(rows, asked.limit)
    listed = ListedReports(reports=[_shown(request, r, names) for r in page], next=token)
    return http.reply(listed, headers=SECRET)


async def answer_report(request: web.Request) -> web.Response:
    """Accept a report or decline it, and say why to who sent it; `open` opens it again."""
    decision = await http.read(request, Decision)
    id, by = records.own_id(request), records.author(request)
    async with request.app[POOL].acquire() as conn, conn.transaction():
        report = await reports.answer(conn, id, decision, by, ledger.clock())
        names = await reports.named(conn, [report])
        waiting = await reports_store.waiting(conn)
    request.app[DOOR].waiting.set(waiting.count)
    return http.reply(_shown(request, report, names), headers=SECRET)


ROUTES = (
    Route("GET", "/reports", list_reports, query=Listing, replies={200: ListedReports}, role=Role.EDITOR),
    Route("POST", "/reports", send_report, body=Sent, replies={201: Received, 429: None}, cors=True),
    Route(
        "GET",
        "/reports/{id}",
        show_report,
        query=Opening,
        replies={200: (Outcome, ShownReport, "text/html")},
        role=Role.EDITOR,
        cors=True,
        key=True,
    ),
    Route(
        "PATCH",
        "/reports/{id}",
        answer_report,
        body=Decision,
        body_type=("application/merge-patch+json", "application/json"),
        replies={200: ShownReport},
        role=Role.EDITOR,
    ),
)
