"""Which migrations a database has had."""

from services.connection import Connection

# One number for the whole database, so that two processes never migrate at once.
_MIGRATING = 0x6D61696C


async def begin(conn: Connection) -> None:
    """Wait until nobody else migrates this database, and have the table of migrations."""
    await conn.execute("SELECT pg_advisory_lock($1)", _MIGRATING)
    await conn.execute(
        "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, hash text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )


async def end(conn: Connection) -> None:
    """Let others migrate."""
    await conn.execute("SELECT pg_advisory_unlock($1)", _MIGRATING)


async def applied(conn: Connection) -> dict[str, str]:
    """The hash of each script that has been applied, by its name."""
    return {row["name"]: row["hash"] for row in await conn.fetch("SELECT name, hash FROM migration")}


async def apply(conn: Connection, name: str, sql: str, digest: str) -> None:
    """Apply a script and remember it, or neither."""
    async with conn.transaction():
        await conn.execute(sql)
        await conn.execute("INSERT INTO migration (name, hash) VALUES ($1, $2)", name, digest)
