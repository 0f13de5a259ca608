"""Every SQL statement by which the doctor looks at a database and at what several services keep in it."""

from datetime import datetime

from msgspec import Struct, convert

from services.connection import Connection

# What the doctor calls itself, so that it does not count its own connections.
NAME = "maillage doctor"


class Server(Struct, frozen=True):
    """A database server: its version as a number, whether nothing can be written, and its clock."""

    version: int
    name: str
    readonly: bool
    clock: datetime


class Room(Struct, frozen=True):
    """Connections that are free, and those that this database has from our services."""

    free: int
    ours: int


async def server(conn: Connection) -> Server:
    """What answers."""
    row = await conn.fetchrow(
        """SELECT current_setting('server_version_num')::int AS version,
                  current_setting('server_version') AS name,
                  pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS readonly,
                  clock_timestamp() AS clock"""
    )
    return convert(row, Server)


async def applied(conn: Connection) -> dict[str, str] | None:
    """The hash of each script that has been applied, by its name; None where no service has ever been here."""
    if await conn.fetchval("SELECT to_regclass('migration') IS NULL"):
        return None
    return {row["name"]: row["hash"] for row in await conn.fetch("SELECT name, hash FROM migration")}


async def room(conn: Connection) -> Room:
    """How many connections are left, by the limits of the server, of the database and of this account."""
    row = await conn.fetchrow(
        """WITH used AS (
               SELECT datname, usename, application_name FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND application_name IS DISTINCT FROM $1
           )
           SELECT least(
                      current_setting('max_connections')::int
                          - current_setting('superuser_reserved_connections')::int - (SELECT count(*) FROM used),
                      (SELECT CASE WHEN datconnlimit < 0 THEN 1000000 ELSE datconnlimit END
                              - (SELECT count(*) FROM used WHERE datname = current_database())
                       FROM pg_database WHERE datname = current_database()),
                      (SELECT CASE WHEN rolconnlimit < 0 THEN 1000000 ELSE rolconnlimit END
                              - (SELECT count(*) FROM used WHERE usename = current_user)
                       FROM pg_roles WHERE rolname = current_user)
                  ) AS free,
                  (SELECT count(*) FROM used
                   WHERE datname = current_database() AND application_name = 'maillage') AS ours""",
        NAME,
    )
    return convert(row, Room)


async def oldest_transaction(conn: Connection) -> tuple[int, datetime] | None:
    """The session of this database whose transaction is open for longest, and since when."""
    row = await conn.fetchrow(
        """SELECT pid, xact_start FROM pg_stat_activity
           WHERE datname = current_database() AND xact_start IS NOT NULL
             AND backend_type = 'client backend' AND application_name IS DISTINCT FROM $1
           ORDER BY xact_start LIMIT 1""",
        NAME,
    )
    return None if row is None else (row["pid"], row["xact_start"])


async def data_folder(conn: Connection) -> str | None:
    """Where a server on this machine keeps its data, where it tells."""
    found: str | None = await conn.fetchval(
        """SELECT setting FROM pg_settings WHERE name = 'data_directory'
           AND inet_server_addr() IS NOT DISTINCT FROM inet_client_addr()"""
    )
    return found


async def misplaced(conn: Connection, *, after: int, limit: int) -> list[str]:
    """Records that do not point to their latest event, by the events after a position."""
    rows = await conn.fetch(
        """WITH latest AS (
               SELECT DISTINCT ON (record) record, seq, version, leaf FROM ledger_event
               WHERE seq > $1 ORDER BY record, seq DESC
           ), pointed AS (
               SELECT record, seq, version, leaf FROM ledger_record WHERE seq > $1
           )
           SELECT record FROM latest l FULL JOIN pointed p USING (record)
           WHERE (l.seq, l.version, l.leaf) IS DISTINCT FROM (p.seq, p.version, p.leaf)
           ORDER BY record LIMIT $2""",
        after,
        limit,
    )
    return [row["record"] for row in rows]


async def evidence(conn: Connection) -> dict[str, int]:
    """How many proofs there are of nodes that contradicted themselves, by node."""
    rows = await conn.fetch("SELECT node, count(*) AS n FROM follow_evidence GROUP BY node ORDER BY node")
    return {row["node"]: row["n"] for row in rows}
