"""The life of the demo: engines, nodes, places, then whatever is asked of it, until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from demo import keeping, load, sample
from demo.keeping import Options
from demo.lists import List
from demo.plan import (
    ENGINES,
    ROOT,
    Folder,
    Node,
    Plan,
    Ports,
    environment,
    plan,
    publisher_settings,
    remember_ports,
    remembered_ports,
    trust,
)
from demo.postgres import Postgres
from demo.process import Failed, Process, orphans_ended, output, reap_orphans, url_answers, wait_until
from demo.rabbitmq import RabbitMQ, Vhost
from demo.telling import Telling

SERVICE_STOP_S = 1.5
ENGINE_STOP_S = 2.0
CATCH_UP_S = 120.0
WATCH_S = 0.2
ORPHANS_S = 0.5
CONNECTIONS = 30
# From the wish to end until nothing is left to wait for.
CLOSED_S = 3.5


class Part(Protocol):
    """Anything that runs as a process of its own: an engine or a service."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""

    async def start(self) -> None:
        """Start it and wait until it answers; does nothing when it runs."""

    async def stop(self, deadline_s: float = 5.0) -> None:
        """Stop it, kill it after the deadline."""

    def kill(self) -> None:
        """Kill it at once."""


@dataclass
class Service:
    """A registry, sync or notify as a process."""

    process: Process
    url: str

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        await self.process.ready(lambda: url_answers(f"{self.url}/readyz"))

    async def stop(self, deadline_s: float = 5.0) -> None:
        """Stop it, kill it after the deadline."""
        await self.process.stop(deadline_s)

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()


@dataclass
class Federation:
    """Engines and services of one demo, made by `open`, described by `described`, ended by `close`."""

    options: Options
    folder: Folder
    telling: Telling
    lists: list[List]
    plan: Plan
    ports: Ports
    postgres: Postgres
    rabbitmq: RabbitMQ | None
    parts: dict[str, Part] = field(default_factory=dict)
    node_ids: dict[str, str] = field(default_factory=dict)
    asked_to_stop: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """Start everything, load the places, and wait until every sync shows them."""
        await self._open_engines()
        await together(self._prepare(node) for node in self.plan.networks)
        await self._start(self.plan.networks)
        self._write_trust()
        await self._start(self.plan.syncs)
        await self._start([self.plan.notify])
        async with aiohttp.ClientSession() as session:
            await self._fill(session)
            await self._wait_until_shown(session)

    async def watch(self) -> None:
        """Keep `federation.json` true and say which part ended by itself; nothing is restarted."""
        known = self.pids()
        while True:
            await asyncio.sleep(WATCH_S)
            now = self.pids()
            reap_orphans(now.values())
            ended = [name for name, pid in known.items() if pid and not now[name]]
            for name in set(ended) - self.asked_to_stop:
                self.telling.ended(name, self.folder.log(name))
            if now != known:
                known = now
                self.publish()

    async def answer(self, action: str, name: str) -> str:
        """Stop or start one part; raises Failed for an unknown name or a part that does not start."""
        part = self.parts.get(name)
        if part is None or action not in ("stop", "start"):
            known = ", ".join(self.parts)
            raise Failed(f"{name} : nom inconnu ; connus : {known} / unknown name, known are the ones above")
        if action == "stop":
            self.asked_to_stop.add(name)
            self.telling.stopping(name)
            await part.stop()
        elif part.pid is None:
            await part.start()
            self.asked_to_stop.discard(name)
            self.telling.started(name)
        self.publish()
        return (
            f"{name} : {'arrêté / stopped' if action == 'stop' else f'en marche / running (pid {part.pid})'}"
        )

    async def close(self) -> None:
        """Stop every part within five seconds, and erase the data unless they are to be kept."""
        begun = time.monotonic()
        engines = [part for name, part in self.parts.items() if name in ("postgres", "rabbitmq")]
        services = [part for name, part in self.parts.items() if name not in ("postgres", "rabbitmq")]
        await together(part.stop(SERVICE_STOP_S) for part in services)
        patience = ENGINE_STOP_S if self.options.keep else 0.0
        await together(part.stop(patience) for part in engines)
        self.kill()
        await orphans_ended(ORPHANS_S)
        self.folder.federation.unlink(missing_ok=True)
        if not self.options.keep:
            keeping.erase(self.folder, max(0.0, begun + CLOSED_S - time.monotonic()))

    def kill(self) -> None:
        """Kill every part at once."""
        for part in self.parts.values():
            part.kill()

    def pids(self) -> dict[str, int | None]:
        """The process id of each part; None for one that does not run."""
        return {name: part.pid for name, part in self.parts.items()}

    def described(self) -> dict[str, Any]:
        """What `federation.json` says."""
        return {
            "networks": [
                {
                    "alias": node.name,
                    "node": self.node_ids[node.name],
                    "url": node.url,
                    "token": self._token(node),
                    "amqp": vhost.url if (vhost := self._vhost(node)) else None,
                }
                for node in self.plan.networks
            ],
            "syncs": [{"url": node.url} for node in self.plan.syncs],
            "notify": {"url": self.plan.notify.url},
            "postgres": {"url": self.postgres.url()},
            "pids": self.pids(),
        }

    def publish(self) -> None:
        """Write `federation.json` in one step; it holds tokens, so only its owner reads it."""
        part = self.folder.path / f".federation-{secrets.token_hex(4)}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.described(), file, ensure_ascii=False, indent=2)
        part.replace(self.folder.federation)

    async def _open_engines(self) -> None:
        self.parts["postgres"] = self.postgres
        if self.rabbitmq:
            self.parts["rabbitmq"] = self.rabbitmq
        if self.rabbitmq and self.rabbitmq.to_fetch:
            self.telling.fetching()
        both = ("PostgreSQL et RabbitMQ", "PostgreSQL and RabbitMQ")
        alone = ("PostgreSQL", "PostgreSQL")
        with self.telling.step(*(both if self.rabbitmq else alone)) as done:
            await together([self.postgres.start(), self._start_broker()])
            done.words = both if self.rabbitmq else alone
        for node in self.plan.nodes:
            if not await self.postgres.has_database(node.database):
                await self.postgres.create_database(node.database)

    async def _start_broker(self) -> None:
        if self.rabbitmq is None:
            return
        try:
            await self.rabbitmq.start()
        except Failed as why:
            self.telling.no_broker(str(why))
            self.rabbitmq.kill()
            self.rabbitmq = None
            del self.parts["rabbitmq"]

    async def _prepare(self, node: Node) -> None:
        """Make a network's identity and its admin token, once, by its registry's own commands."""
        identity = self.folder.keys(node.name) / "node"
        if not identity.exists():
            self.folder.root_key(node.name).parent.mkdir(parents=True, exist_ok=True)
            node_id = await self._command(node, *KEY, str(self.folder.root_key(node.name)))
            write_secret(self.folder.token(node.name), await self._command(node, *TOKEN))
            write_secret(identity, node_id)
        self.node_ids[node.name] = identity.read_text()

    async def _command(self, node: Node, *words: str) -> str:
        command = [sys.executable, "-m", f"services.{node.service}", *words]
        return await output(command, self._environment(node), self.folder.log(node.name), ROOT)

    async def _start(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.parts[node.name] = Service(
                Process(
                    node.name,
                    [sys.executable, "-m", f"services.{node.service}", "serve"],
                    self.folder.log(node.name),
                    environment=self._environment(node),
                    cwd=ROOT,
                ),
                node.url,
            )
        names = ", ".join(node.name for node in nodes)
        with self.telling.step(names, names):
            await together(self.parts[node.name].start() for node in nodes)

    def _environment(self, node: Node) -> dict[str, str]:
        settings: dict[str, str | None] = {"DATABASE_URL": self.postgres.url(node.database)}
        if node in self.plan.publishers:
            settings |= publisher_settings(node, self.folder, self._vhost(node))
        if node.service == "registry":
            settings |= {"LICENSE": "etalab-2.0"}
        if node.service == "sync":
            settings |= {"TRUST": str(self.folder.data / "trust.toml")}
        if node.service == "notify":
            settings |= {"FOLLOW": self.plan.syncs[0].url}
        return {**environment(node, settings), "TMPDIR": str(self.folder.temporary)}

    def _vhost(self, node: Node) -> Vhost | None:
        return self.rabbitmq.vhost(node.name) if self.rabbitmq else None

    def _token(self, node: Node) -> str:
        return self.folder.token(node.name).read_text()

    def _write_trust(self) -> None:
        followed = {self.node_ids[node.name]: node for node in self.plan.networks}
        (self.folder.data / "trust.toml").write_text(trust(followed))

    async def _fill(self, session: aiohttp.ClientSession) -> None:
        """Import each network's list and say what they agree on, once."""
        done = self.folder.data / "loaded"
        if done.exists():
            return
        desks = [load.Desk(node.name, node.url, self._token(node)) for node in self.plan.networks]
        with self.telling.step("Chargement des lieux", "loading places"):
            await together(
                self._import(session, desk, each) for desk, each in zip(desks, self.lists, strict=True)
            )
            if self.options.places is None:
                await self._agree(session, {desk.alias: desk for desk in desks})
        done.touch()

    async def _import(self, session: aiohttp.ClientSession, desk: load.Desk, each: List) -> None:
        finished = await load.import_list(session, desk, each.format, each.read())
        self.telling.imported(desk.alias, finished.get("counts", {}))

    async def _agree(self, session: aiohttp.ClientSession, desks: dict[str, load.Desk]) -> None:
        """In the sample, both networks of some shared places say that they are the same."""
        ids = {alias: await load.ids_by_origin(session, desk) for alias, desk in desks.items()}
        present = sample.networks(len(desks))
        for pair in [pair for pair in sample.pairs(present) if pair.claimed]:
            a, b = (ids[alias][own] for alias, own in (pair.a, pair.b))
            await load.claim_same(session, desks[pair.a[0]], a, b)
            await load.claim_same(session, desks[pair.b[0]], b, a)

    async def _wait_until_shown(self, session: aiohttp.ClientSession) -> None:
        heads = {self.node_ids[node.name]: await load.head(session, node.url) for node in self.plan.networks}

        async def shown() -> bool:
            return all([await load.caught_up(session, node.url, heads) for node in self.plan.syncs])

        with self.telling.step("Les vues communes montrent les lieux", "the common views show the places"):
            await wait_until(shown, CATCH_UP_S, "syncs")


KEY = ("key", "init", "--if-missing", "--no-sheet", "--root-key")
TOKEN = ("token", "add", "--role", "admin", "--name", "demo")


def prepared(options: Options, telling: Telling) -> Federation:
    """A federation ready to open: folders made fresh or continued, names and ports chosen.

    Raises Failed, with nothing erased, when the folder is not the demo's or keeps another federation.
    """
    folder = Folder(options.folder.resolve())
    options, found = keeping.chosen(options, folder)
    keeping.made_ready(folder, options)
    ports = Ports(options.port_base, remembered_ports(folder))
    chosen = plan(found, options.syncs or keeping.SYNCS, ports)
    federation = Federation(
        options=options,
        folder=folder,
        telling=telling,
        lists=found,
        plan=chosen,
        ports=ports,
        postgres=postgres(folder, ports, chosen),
        rabbitmq=rabbitmq(options, folder, ports, chosen),
    )
    remember_ports(folder, ports)
    if options.keep:
        keeping.keep(folder, options, found)
    return federation


def postgres(folder: Folder, ports: Ports, chosen: Plan) -> Postgres:
    """The demo's PostgreSQL, with room for every service's connections; not started yet."""
    return Postgres(
        folder.data / "postgres",
        port=ports.of("postgres", ENGINES),
        log=folder.log("postgres"),
        settings={"max_connections": str(50 + CONNECTIONS * len(chosen.nodes))},
    )


def rabbitmq(options: Options, folder: Folder, ports: Ports, chosen: Plan) -> RabbitMQ | None:
    """The demo's RabbitMQ, not started yet; None when none is wanted."""
    if not options.broker:
        return None
    return RabbitMQ(
        folder.data / "rabbitmq",
        cache=ROOT / ".cache",
        vhosts=[node.name for node in chosen.publishers],
        port=ports.of("rabbitmq", ENGINES + 1),
        log=folder.log("rabbitmq"),
        mapper_port=ports.of("rabbitmq-mapper", ENGINES + 2),
        distribution_port=ports.of("rabbitmq-distribution", ENGINES + 3),
    )


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)


async def together(actions: Iterable[Awaitable[object]]) -> None:
    """Run actions at the same time; the first failure ends the others and is raised as itself."""
    tasks = [asyncio.ensure_future(action) for action in actions]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
