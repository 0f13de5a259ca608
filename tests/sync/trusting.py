"""What tests of whom a sync listens to share: its file, written at once or by its own commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.sync.__main__ import main
from tests.doctors import environ, run
from tests.nodes import Registry, Sync, eventually


def table(registry: Registry, alias: str, mode: str = "follow", url: str = "") -> str:
    """A node as the trust file has it."""
    where = url or registry.url
    return f'[[node]]\nnode = "{registry.node}"\nurl = "{where}"\nalias = "{alias}"\nmode = "{mode}"\n'


def hidden(record: str, reason: str = "on-request") -> str:
    """A hidden record as the trust file has it."""
    return f'[[hidden]]\nrecord = "{record}"\nreason = "{reason}"\nsince = 2026-05-03\n'


def write(sync: Sync, *tables: str) -> None:
    """Write the trust file, all at once."""
    path = Path(sync.settings.trust)
    part = path.with_suffix(".part")
    part.write_text("\n".join(tables))
    part.replace(path)


async def in_force(sync: Sync, **parts: int) -> Any:
    """Wait until the trust in force has so many entries under these names; what it is."""

    async def there() -> Any:
        trust = await sync.get("/trust")
        return trust if all(len(trust[name]) == count for name, count in parts.items()) else None

    return await eventually(there)


async def stands(sync: Sync, followed: Sequence[str], count: int) -> Any:
    """Wait until the view is made from these nodes and hidden records, and has so many places; its digest."""
    from services.sync.merge import followed_hash

    async def there() -> Any:
        digest = await sync.digest()
        return (
            digest if (digest["followed"], digest["count"]) == (followed_hash(followed, ()), count) else None
        )

    return await eventually(there, 60)


async def command(sync: Sync, *words: str) -> tuple[int, str]:
    """A command of the sync's operator, with its settings: exit code, and what it says."""
    name, *others = words
    done = await run(main, environ("sync", sync.settings), *others, command=name)
    return done.exit_code, done.output if done.exit_code else done.stdout
