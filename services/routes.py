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


class Route(Struct, frozen=True):
    """One way in. `replies` maps a status to a Struct, or to a media type where the body is no Struct.

    `limit` is the size of a body in bytes; None leaves reading to the handler.
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

    @property
    def body_types(self) -> tuple[str, ...]:
        """The media types that the body may have."""
        return (self.body_type,) if isinstance(self.body_type, str) else self.body_type
