"""A whole house of processes, and how each of them is killed while it works."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec

from demo.postgres import Postgres
from tests.federation.wishes import AWAY, Door
from tests.nodes import Registry, Sync, eventually, listen_to
from tests.processes import Part

# How long a part works before it is killed, and stays down afterwards: what chance may choose.
WORK_S, DOWN_S = 0.2, 0.3
# How many times more than another one may be killed: whoever follows needs somebody who lives for a while.
AHEAD = 1


@dataclass
class Victim:
    """A part that is killed and started again: how far it is, whether somebody waits for it, how to kill it
    and how to bring it back."""

    name: str
    progress: Callable[[], Awaitable[int]]
    awaited: Callable[[], Awaitable[bool]]
    kill: Callable[[], None]
    start: Callable[[], Awaitable[object]]
    kills: int = 0

    async def suffer(self, chance: Random, times: int, all_of_us: Sequence[Victim]) -> None:
        """Be killed so many times, each time when it has done something since it was started."""

        async def turn() -> bool:
            return self.kills <= min(victim.kills for victim in all_of_us) + AHEAD

        while self.kills < times:
            await eventually(turn, 600)
            await self.at_work()
            await asyncio.sleep(chance.uniform(0, WORK_S))
            await eventually(self.awaited, 300)
            self.kill()
            self.kills += 1
            await asyncio.sleep(chance.uniform(0, DOWN_S))
            await self.start()

    async def at_work(self) -> None:
        """Wait until it is further than it was."""
        seen: list[int] = []

        async def further() -> bool:
            try:
                seen.append(await self.progress())
            except AWAY:
                return False
            return seen[-1] > seen[0]

        try:
            await eventually(further, 300)
        except AssertionError:
            raise AssertionError(f"{self.name} stands still at {seen[-1:]}") from None


class House:
    """A registry, a sync and a notify as processes on a PostgreSQL of their own, and people who write."""

    def __init__(
        self, postgres: Postgres, folder: Path, session: aiohttp.ClientSession, chance: Random
    ) -> None:
        self.postgres, self.folder, self.session, self.chance = postgres, folder, session, chance
        self.outages, self.heard = 0, "0.0"
        self.sessions: list[int] = []

    async def open(self) -> None:
        """Start everything; the notify has read the log of the sync before there is anything in it."""
        urls = [await self.postgres.create_database() for _ in range(3)]
        at = self.folder
        self.registry = Part(
            "registry", at / "registry", database_url=urls[0], key_dir=at / "keys-1", heartbeat_s=2
        )
        self.node = await self.registry.command("key", "init", "--root-key", str(at / "root.key"))
        self.token = await self.registry.command("token", "add", "--role", "admin", "--name", "crash")
        self.door = Door(self.session, self.registry.url, self.token)
        listen_to(at, [self.seen_registry()])
        self.sync = Part(
            "sync",
            at / "sync",
            database_url=urls[1],
            key_dir=at / "keys-2",
            trust=at / "trust.toml",
            heartbeat_s=2,
        )
        self.notify = Part("notify", at / "notify", database_url=urls[2], follow=self.sync.url)
        self.parts = [self.registry, self.sync, self.notify]
        for part in self.parts:
            await part.start()
        await self.seen_sync().caught_up([self.seen_registry()])
        await eventually(self.notify_begun)

    async def close(self) -> None:
        """Stop what still runs."""
        for part in self.parts:
            await part.stop()
        for part in self.parts:
            assert part.process.returncode == 0, part.process.tail()

    def seen_registry(self) -> Registry:
        """The registry as other tests see one."""
        seen = Registry(self.session, not_ours)
        seen.port, seen.node, seen.token = self.registry.port, self.node, self.token
        return seen

    def seen_sync(self) -> Sync:
        """The sync as other tests see one."""
        seen = Sync(self.session, not_ours)
        seen.port = self.sync.port
        return seen

    async def notify_begun(self) -> bool:
        """Whether the notify stands in the sync's log."""
        return await self.notify_at() is not None

    async def notify_at(self) -> str | None:
        """How far the notify tells of the sync's log; it looks at a bounded stretch in each answer."""
        query = f"{self.notify.url}/changes?since={self.heard}&limit=1&departement=99"
        async with self.session.get(query, raise_for_status=True) as answer:
            self.heard = msgspec.json.decode(await answer.read())["cursor"]
        return None if self.heard.startswith("0.") else self.heard

    def victims(self) -> list[Victim]:
        """All parts, each with what it means that it works."""

        async def written() -> int:
            return len(self.door.accepted)

        async def merged() -> int:
            async with self.session.get(self.sync.url + "/digest", raise_for_status=True) as answer:
                return sum(head["size"] for head in msgspec.json.decode(await answer.read())["heads"])

        async def told() -> int:
            return int((await self.notify_at() or "1.0").partition(".")[2])

        async def writing() -> bool:
            return self.door.flying > 0

        async def always() -> bool:
            return True

        return [
            Victim("registry", written, writing, lambda: killed(self.registry), self.registry.start),
            Victim("sync", merged, always, lambda: killed(self.sync), self.sync.start),
            Victim("notify", told, always, lambda: killed(self.notify), self.notify.start),
            Victim("postgres", written, writing, self.kill_postgres, self.start_postgres),
        ]

    def kill_postgres(self) -> None:
        """Kill the server, or one of its sessions: then it throws out all the others and recovers."""
        assert self.postgres.pid is not None
        sessions = at_work(self.postgres.pid)
        self.outages += 1
        if sessions and self.outages % 2:
            self.sessions.append(self.chance.choice(sessions))
            os.kill(self.sessions[-1], signal.SIGKILL)
        else:
            self.postgres.kill()
            assert self.postgres.pid is None

    async def start_postgres(self) -> None:
        """Bring the server back, where it does not come back by itself."""
        if self.postgres.pid is None:
            await self.postgres.start()
        else:
            # It answers until it has noticed, and a server that is killed before that says nothing of it.
            await eventually(self.noticed)
        await eventually(self.postgres.answers)

    async def noticed(self) -> bool:
        """Whether the server says of every session that was killed that it lost it."""
        return self.recoveries() >= len(self.sessions)

    def recoveries(self) -> int:
        """How often the server says that it lost a session to a SIGKILL."""
        return (self.postgres.folder / "postgres.log").read_text().count("was terminated by signal 9")


def not_ours(port: int) -> Any:
    """What starts a service that runs as a process of its own: not we."""
    raise AssertionError("this one runs as a process")


def killed(part: Part) -> None:
    """Kill a part that has to be alive: nothing but us ends one."""
    assert part.process.pid is not None, part.process.tail()
    part.process.kill()
    assert part.process.returncode == -signal.SIGKILL


def at_work(postmaster: int) -> list[int]:
    """The sessions of clients of a PostgreSQL server, by process id; those at work where there are any."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    titles = {int(pid): title(pid) for pid in children}
    sessions = {pid: said for pid, said in titles.items() if said.startswith("postgres: maillage ")}
    return [pid for pid, said in sessions.items() if not said.endswith(" idle")] or list(sessions)


def title(pid: str) -> str:
    """What a process says that it does; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return ""
