"""Who holds a token. Requests that ask for the same one at the same moment share one look-up."""

import asyncio
from datetime import datetime
from hashlib import sha256

from services.http import Principal, Role
from services.postgres import Pool
from services.registry import store
from services.registry.store import Token


class Tokens:
    """The tokens of a registry. Nothing is remembered: a revoked one is refused from the next look-up on."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asking: dict[bytes, asyncio.Task[Token | None]] = {}

    async def holder(self, secret: str, now: datetime) -> Principal | None:
        """Who holds the token with this secret, if it is in force."""
        token = await self._found(sha256(secret.encode(errors="surrogateescape")).digest())
        if token is None or token.revoked_at is not None:
            return None
        if token.expires_at is not None and token.expires_at <= now:
            return None
        return Principal(name=token.name, role=Role(token.role), id=str(token.id))

    async def _found(self, hash: bytes) -> Token | None:
        task = self._asking.get(hash)
        if task is None:
            task = self._asking[hash] = asyncio.create_task(self._look(hash))
            task.add_done_callback(lambda _: self._asking.pop(hash, None))
        return await asyncio.shield(task)

    async def _look(self, hash: bytes) -> Token | None:
        async with self._pool.acquire() as conn:
            return await store.token(conn, hash)
