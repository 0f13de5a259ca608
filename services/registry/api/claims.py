"""`/claims` ("avis"): what this network says of how its records and others' relate."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Raw, Struct

from schemas.claim import Claim
from schemas.place import RecordId
from services import http, ledger
from services.http import Role, Route
from services.registry import claims, decide, store
from services.registry.api import records
from services.registry.api.records import WithdrawBody
from services.registry.context import NODE, POOL
from services.registry.decide import Row, State, Withdraw
from services.routes import IF_UNCHANGED


class Listing(Struct, frozen=True):
    """Which claims to list: those that name this record."""

    record: RecordId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: str | None = None


class ShownClaim(Struct, frozen=True):
    """A claim as it stands."""

    id: str
    version: int
    cursor: str
    updated_at: str
    claim: Raw


class ListedClaims(Struct, frozen=True):
    """A page of claims; `next` is the token of the next one."""

    claims: list[ShownClaim]
    next: str | None


def shown(request: web.Request, row: Row) -> ShownClaim:
    """A claim as it is served."""
    return ShownClaim(
        id=records.full_id(request, row.id),
        version=row.version,
        cursor=row.cursor,
        updated_at=ledger.stamp(row.updated_at),
        claim=Raw(row.body),
    )


async def say_claim(request: web.Request) -> web.Response:
    """Say how two records relate. The latest word on a pair counts, so saying it anew replaces it."""
    claim = await http.read(request, Claim)
    async with request.app[POOL].acquire() as conn:
        await claims.check(conn, request.app[NODE], claim)
    wish = State(id=records.mint(), body=msgspec.json.encode(claim))
    answer = await records.written(request, "claim", wish, key=decide.pair(claim.a, claim.b))
    headers = {**records.etag(answer.row), "Location": f"/claims/{answer.row.id}"}
    return http.reply(shown(request, answer.row), 201 if answer.created else 200, headers=headers)


async def list_claims(request: web.Request) -> web.Response:
    """Claims in force, all or those about one record."""
    asked = http.asked(request, Listing)
    async with request.app[POOL].acquire() as conn:
        rows = await store.listed_others(
            conn,
            "claim",
            after=records.after_page(asked.page),
            limit=asked.limit + 1,
            about=asked.record,
        )
    page, token = records.paged(rows, asked.limit)
    return http.reply(ListedClaims(claims=[shown(request, r) for r in page], next=token))


async def show_claim(request: web.Request) -> web.Response:
    """A claim as it stands."""
    row = await records.other(request, records.own_id(request), "claim")
    return http.reply(shown(request, row), headers=records.etag(row))


async def withdraw_claim(request: web.Request) -> web.Response:
    """Take a claim back."""
    id = records.own_id(request)
    version = None if "If-Match" not in request.headers else records.expected_version(request)
    body = await records.withdrawal(request)
    await records.other(request, id, "claim")
    wish = Withdraw(id=id, reason=body.reason, successor=None, version=version)
    answer = await records.written(request, "claim", wish)
    return http.reply(shown(request, answer.row), headers=records.etag(answer.row))


ROUTES = (
    Route("GET", "/claims", list_claims, query=Listing, replies={200: ListedClaims}),
    Route(
        "POST",
        "/claims",
        say_claim,
        body=Claim,
        replies={200: ShownClaim, 201: ShownClaim},
        role=Role.EDITOR,
    ),
    Route("GET", "/claims/{id}", show_claim, replies={200: ShownClaim, 410: None}),
    Route(
        "DELETE",
        "/claims/{id}",
        withdraw_claim,
        body=WithdrawBody,
        replies={200: ShownClaim, 412: None},
        role=Role.EDITOR,
        headers=(IF_UNCHANGED,),
    ),
)
