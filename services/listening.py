"""Listening: a socket with a deadline for request headers, a cap on connections, and an end with grace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from services import problems
from services.errors import Args, Failure, Malformed, Misconfigured
from services.problems import Crashed

# aiohttp closes a connection that has waited this long for a request to be complete in its headers, counted
# from its opening or from its last answer, whatever has trickled in meanwhile.
HEADERS_WITHIN = 10.0
GRACE = 3.0
# What a socket holds by itself is gone at once; of more, a reader who takes nothing for so long is let go.
WATCHED_FROM = 64 * 1024
TAKES_WITHIN = 30.0

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class _Connection(web.RequestHandler):
    """aiohttp's connection, whose answers to what is not HTTP are problems as well."""

    __slots__ = ()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        body = resp.body if isinstance(resp, web.Response) else None
        if not isinstance(body, bytes) or len(body) < WATCHED_FROM:
            return await super().finish_response(request, resp, start_time)
        watch = asyncio.create_task(self._impatient())
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            watch.cancel()

    async def _impatient(self) -> None:
        """Cut the connection when its reader takes nothing any more."""
        left = -1
        while (transport := self.transport) is not None:
            before, left = left, transport.get_write_buffer_size()
            if before == left > 0:
                transport.abort()
                return
            await asyncio.sleep(TAKES_WITHIN)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            # Whoever began the answer has logged why; all that is left is to cut it.
            raise ConnectionResetError("an answer failed after it had begun") from exc
        answer = problems.response(_failure(status, exc), request.headers.get("Accept-Language"))
        answer.headers["Server"] = "maillage"
        answer.force_close()
        return answer


def _failure(status: int, exc: BaseException | None) -> Failure:
    if isinstance(exc, LineTooLong):
        return Malformed("The address or a header is too long: ask in other words, or for less at a time.")
    return Malformed("This is not an HTTP request.") if status == 400 else Crashed()


class _Refusal(asyncio.Protocol):
    """What a client gets when all connections are taken."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.write(_FULL)
            transport.close()


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    *,
    max_connections: int = 1000,
    headers_within: float = HEADERS_WITHIN,
) -> AsyncIterator[int]:
    """Serve `app` inside the `async with`, which gives the port (a free one where `port` is 0).

    At the end no connection is accepted any more and handlers have three seconds to finish.
    """
    options: dict[str, Any] = {"keepalive_timeout": headers_within, "access_log": None, "lingering_time": 2.0}
    # A megabyte of zeros zipped would be a thousand for whoever refuses it.
    options["auto_decompress"] = False
    # aiohttp waits this long twice: for handlers to end, then for those that it has cancelled.
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=GRACE / 2, **options)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None  # noqa: S101 - tells the type checker what setup() did

    def connection() -> asyncio.Protocol:
        if len(server.connections) >= max_connections:
            return _Refusal()
        return _Connection(server, loop=loop, **options)

    sockets = None
    try:
        try:
            sockets = await loop.create_server(connection, host, port, backlog=512)
        except OSError as error:
            args: Args = {"host": host, "port": port, "reason": error.strerror or str(error)}
            message = "Nothing can listen on {host}:{port}: {reason}. Choose another ..._PORT or ..._HOST."
            raise Misconfigured(message, args) from None
        yield sockets.sockets[0].getsockname()[1]
    finally:
        if sockets:
            sockets.close()
        await runner.cleanup()
