"""Durable single writes over HTTP, signed and logged, beside pgbench calling a function that writes three rows."""

import asyncio
import itertools
import re
import time
from pathlib import Path

import asyncpg
import msgspec

from bench import nodes
from bench.figures import Figure, interleaved
from bench.nodes import Registry
from demo.postgres import Postgres, find

SECONDS = 4.0
CLIENTS = (1, 16, 64)
RIVAL = """
CREATE TABLE a (id uuid PRIMARY KEY, version bigint NOT NULL, body bytea NOT NULL);
CREATE TABLE b (id uuid NOT NULL, version bigint NOT NULL, at timestamptz NOT NULL, role text NOT NULL,
                PRIMARY KEY (id, version));
CREATE TABLE c (seq bigserial PRIMARY KEY, record text NOT NULL, raw bytea NOT NULL, sig bytea NOT NULL,
                leaf bytea NOT NULL);
CREATE FUNCTION put(body bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE made uuid := gen_random_uuid();
BEGIN
    INSERT INTO a VALUES (made, 1, body);
    INSERT INTO b VALUES (made, 1, now(), 'editor');
    INSERT INTO c (record, raw, sig, leaf) VALUES (made::text, body, body, body);
END $$;
"""
counter = itertools.count()


def place() -> bytes:
    """A place of the usual size, of a name of its own."""
    n = next(counter)
    return msgspec.json.encode(
        {
            "name": f"Tiers-lieu numéro {n}",
            "status": "open",
            "address": {
                "street": f"{n % 200} rue des Écoles",
                "postcode": "35000",
                "city": "Rennes",
                "insee": "35238",
            },
            "position": {"lat": 48.1 + n % 1000 / 1e4, "lon": -1.67, "precision": "street"},
            "families": ["coworking", "fablab"],
            "summary": "Un lieu ouvert à toutes et tous, avec un atelier, des bureaux et une cuisine partagée.",
            "website": "https://exemple.fr",
        }
    )


async def _client(registry: Registry, until: float) -> int:
    """One connection that sends one request after the other; how many were accepted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
    accepted = 0
    while time.perf_counter() < until:
        body = place()
        writer.write(
            b"POST /places HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (registry.token.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        accepted += head.startswith(b"HTTP/1.1 201")
    writer.close()
    return accepted


async def ours(registry: Registry, clients: int) -> float:
    """Accepted writes per second."""
    started = time.perf_counter()
    done = await asyncio.gather(*(_client(registry, started + SECONDS) for _ in range(clients)))
    return sum(done) / (time.perf_counter() - started)


async def theirs(server: Postgres, url: str, script: Path, clients: int) -> float:
    """Transactions per second by pgbench."""
    process = await asyncio.create_subprocess_exec(
        str(find() / "pgbench"),
        *("-n", "-f", str(script), "-c", str(clients), "-j", str(min(2, clients)), "-T", str(int(SECONDS))),
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    found = re.search(rb"tps = ([\d.]+) \(without", out)
    if found is None:
        raise RuntimeError(error.decode())
    return float(found[1])


async def measure(rounds: int) -> list[Figure]:
    """Writes per second at 1, 16 and 64 clients."""
    figures = []
    async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:
        registry = Registry(at, await server.create_database())
        await registry.init()
        rival = await server.create_database()
        connection = await asyncpg.connect(rival)
        await connection.execute(RIVAL)
        await connection.close()
        script = at / "put.sql"
        script.write_text(f"SELECT put('\\x{place().hex()}');\n")
        async with registry.serving():
            for clients in CLIENTS:
                here, there = await interleaved(
                    lambda n=clients: ours(registry, n),  # type: ignore[misc]
                    lambda n=clients: theirs(server, rival, script, n),  # type: ignore[misc]
                    rounds,
                )
                goal = "≥ 1.0" if clients == 64 else "—"
                path = f"durable single writes over HTTP, {clients} clients"
                figures.append(Figure(path, here, there, "/s", "pgbench, three rows", goal))
    return figures
