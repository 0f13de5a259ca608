"""Who may write, and that the way in costs nothing to those who have none."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import asyncpg

from services import ledger, postgres
from services.http import Role
from services.registry import app, store
from services.registry.store import Token
from tests.conftest import Federation
from tests.nodes import Registry

PLACE = {"name": "Jeton", "status": "open", "kind": "virtual"}


async def test_a_secret_is_not_kept(registry: Registry) -> None:
    """The database holds the hash of a token and never the token."""
    secret = await registry.token_for("editor")
    conn = await asyncpg.connect(registry.settings.database_url)
    rows = await conn.fetch("SELECT * FROM token")
    await conn.close()
    assert not any(secret in str(dict(row)) or secret.encode() in row["hash"] for row in rows)
    assert sha256(secret.encode()).digest() in [row["hash"] for row in rows]


async def test_a_token_ends_at_its_hour(registry: Registry) -> None:
    """A token with an end is in force before it and refused after it, without anybody doing anything."""
    now = ledger.clock()
    made = {"soon": now + timedelta(hours=1), "past": now - timedelta(milliseconds=1)}
    pool_of = postgres.pool(registry.settings.database_url, size=3, migrations=app.SCRIPTS)
    async with pool_of as pool, pool.acquire() as conn:
        for secret, ends in made.items():
            token = Token(
                id=uuid4(), name=secret, role="editor", created_at=now, expires_at=ends, revoked_at=None
            )
            await store.add_token(conn, token, sha256(secret.encode()).digest())
    assert (await registry.call("POST", "/places", token="soon", json=PLACE))[0] == 201
    assert (await registry.call("POST", "/places", token="past", json=PLACE))[0] == 401


async def test_each_role_may_what_the_ones_before_it_may(registry: Registry) -> None:
    """A reader reads imports, an editor also writes places, an admin also the vocabulary."""
    calls = {
        Role.READER: ("GET", f"/imports/{uuid4()}", None, 404),
        Role.EDITOR: ("POST", "/places?duplicate=accept", PLACE, 201),
        Role.ADMIN: ("PUT", "/vocabulary", {"terms": []}, 200),
    }
    for holder in Role:
        token = await registry.token_for(holder.value)
        for asked, (method, path, body, fine) in calls.items():
            status, _, _ = await registry.call(method, path, token=token, json=body)
            assert status == (fine if holder.allows(asked) else 403), (holder, asked)


async def test_the_author_stays_at_home(registry: Registry) -> None:
    """Who wrote what is in the node's own tables; events, histories and lists say the role at most."""
    conn = await asyncpg.connect(registry.settings.database_url)
    await conn.execute("UPDATE token SET name = 'Jeanne Dupont'")
    made = await registry.add()
    (author,) = await conn.fetchrow("SELECT author FROM ledger_event")
    await conn.close()
    assert author == "admin:Jeanne Dupont"
    for path in ("/feed", "/snapshot", f"/places/{made['id']}", f"/places/{made['id']}/history", "/metrics"):
        async with registry.client.get(registry.url + path) as answer:
            assert "Dupont" not in await answer.text(), path


async def test_many_strangers_do_not_stop_who_writes(registry: Registry) -> None:
    """Two hundred wrong tokens at once are two hundred 401, while a right one writes."""
    wrong = (registry.call("POST", "/places", token=f"wrong-{n}", json=PLACE) for n in range(200))
    strangers = asyncio.gather(*wrong)
    await registry.add()
    assert {status for status, _, _ in await strangers} == {401}


async def test_tokens_of_one_network_are_nothing_to_another(federation: Federation) -> None:
    """A token opens the registry that made it and no other."""
    one, two = await federation.registry(), await federation.registry()
    assert (await two.call("POST", "/places", token=one.token, json=PLACE))[0] == 401
