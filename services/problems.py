"""Failures as RFC 9457 problem details, in French or English."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from services.errors import (
    Conflict,
    Failure,
    Fault,
    Forbidden,
    Gone,
    Invalid,
    Malformed,
    Missing,
    NotAllowed,
    NotFound,
    Stale,
    TooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from services.languages import Language, choose, say

PROBLEM = "application/problem+json"


class Crashed(Failure):
    """Something went wrong on our side."""

    code = "internal"


class TooSlow(Failure):
    """The request did not arrive in time."""

    code = "timeout"


STATUS: Mapping[type[Failure], int] = {
    Malformed: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NotAllowed: 405,
    TooSlow: 408,
    Conflict: 409,
    Gone: 410,
    Stale: 412,
    TooLarge: 413,
    Unsupported: 415,
    Invalid: 422,
    Missing: 428,
    TooMany: 429,
    Crashed: 500,
    Unavailable: 503,
}
_OF_STATUS = {status: failure for failure, status in STATUS.items()}


def response(failure: Failure, accept_language: str | None) -> web.Response:
    """The answer that says `failure`, in the language that the client prefers."""
    language = choose(accept_language)
    status = STATUS.get(type(failure), 500)
    body = msgspec.json.encode(details(failure, status, language))
    answer = web.Response(body=body, status=status, content_type=PROBLEM)
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept-Language"
    if isinstance(failure, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if (seconds := failure.extra.get("retry_after")) is not None:
        answer.headers["Retry-After"] = str(seconds)
    return answer


def details(failure: Failure, status: int, language: Language) -> dict[str, Any]:
    """The members of the problem; `extra` of the failure is added, its `code` names the type."""
    extra = dict(failure.extra)
    code = extra.pop("code", failure.code)
    found: dict[str, Any] = {
        "type": f"urn:maillage:problem:{code}",
        "title": say(title(type(failure)), {}, language),
        "status": status,
    }
    if failure.detail:
        found["detail"] = say(failure.detail, failure.arguments, language)
    if failure.faults:
        found["errors"] = [error(fault, language) for fault in failure.faults]
    return found | extra


def error(fault: Fault, language: Language) -> dict[str, str]:
    """One mistake: a `pointer` into the body, or the name of a `parameter`, and what is wrong there."""
    kind = "pointer" if fault.where == "" or fault.where.startswith("/") else "parameter"
    return {kind: fault.where, "detail": say(fault.what, fault.args, language)}


def title(failure: type[Failure]) -> str:
    """The first line of a failure's docstring."""
    return (failure.__doc__ or "").strip().partition("\n")[0]


def from_http(exception: web.HTTPException) -> Failure:
    """aiohttp's own errors as ours."""
    failure = _OF_STATUS.get(exception.status, NotFound if exception.status < 500 else Crashed)
    return failure()
