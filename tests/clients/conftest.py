"""One view for all clients of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector

from tests.clients.published import Published, publish
from tests.conftest import Federation
from tests.engines import Server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def published(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Published]:
    """A sync with three hundred places, at its own public address; nobody writes while it is read."""
    # Services close connections that are idle for ten seconds: none of those may be used again.
    async with ClientSession(connector=TCPConnector(keepalive_timeout=4)) as client:
        federation = Federation(postgres, client, tmp_path_factory.mktemp("published"))
        yield await publish(federation)
        await federation.end()
