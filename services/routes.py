"""What a route is, and who may take it: the one table from which requests are checked and documented."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any

from aiohttp import web
from msgspec import Struct

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Role(Enum):
    """What a token allows; each role allows all that the ones before it do."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"

    def allows(self, asked: "Role") -> bool:
        """Whether somebody of this role may do what needs `asked`."""
        ranks = tuple(Role)
        return ranks.index(self) >= ranks.index(asked)


class Principal(Struct, frozen=True):
    """Who is asking: the name and id of the token, and its role."""

    name: str
    role: Role
    id: str


class Header(Struct, frozen=True):
    """A header of requests that a route looks at."""

    name: str
    description: str
    required: bool = False


IF_MATCH = Header("If-Match", "The ETag that was read, or * for any version.", required=True)
IF_MATCH_OR_NEW = Header("If-Match", "The ETag that was read, or * for any version; else If-None-Match: *.")
IF_NEW = Header("If-None-Match", "* creates the record under this id, a UUID of version 7.")
IF_UNCHANGED = Header("If-Match", "The ETag that was read: nothing is done where it is no longer so.")
ONCE = Header("Idempotency-Key", "The same request under the same key gets its first answer again, for 24 h.")
RESUMED = Header("Last-Event-ID", "The cursor to go on from, as browsers send it by themselves.")


class As(Struct, frozen=True):
    """A reply of this shape that is of another media type than JSON's own."""

    media: str
    shape: Any


class Route(Struct, frozen=True):
    """One way in. `replies` maps a status to a Struct, or to a media type where the body is no Struct.

    `limit` is the size of a body in bytes; None leaves reading to the handler. `cors`: the pages of any site may take
    it. `key`: who gives a `key` in the query, which the handler looks at, needs no token.
    """

    method: str
    path: str
    handler: Handler
    query: type[Any] | None = None
    body: Any = None
    replies: Mapping[int, Any] = {}
    role: Role | None = None
    body_type: str | tuple[str, ...] = "application/json"
    limit: int | None = 65536
    headers: tuple[Header, ...] = ()
    cors: bool = False
    key: bool = False

    @property
    def body_types(self) -> tuple[str, ...]:
        """The media types that the body may have."""
        return (self.body_type,) if isinstance(self.body_type, str) else self.body_type
