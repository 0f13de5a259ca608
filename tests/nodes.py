"""Nodes for the tests: real services on real databases, in this process, on free ports."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import aiohttp
import msgspec
from click import Group
from click.testing import CliRunner, Result

from demo.process import free_port
from services import ledger
from services.registry import __main__ as registry_commands
from services.registry import app as registry_app
from services.registry import keys
from services.registry import settings as registry_settings
from services.registry import store as registry_store
from services.registry.settings import Settings as RegistrySettings
from services.sync import __main__ as sync_commands
from services.sync import app as sync_app
from services.sync import settings as sync_settings
from services.sync.settings import Settings as SyncSettings


class Running:
    """A service at work in a task of its own, until it is stopped."""

    def __init__(self, serving: AbstractAsyncContextManager[int]) -> None:
        self._serving = serving
        self._stop = asyncio.Event()
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._serving as port:
                self._port.set_result(port)
                await self._stop.wait()
        except BaseException as error:
            if not self._port.done():
                self._port.set_exception(error)
            raise

    async def port(self) -> int:
        """The port, once it listens."""
        return await asyncio.shield(self._port)

    async def stop(self) -> None:
        """Let it end; raises what ended it, if that was not us."""
        self._stop.set()
        await self._task

    async def cut(self) -> None:
        """Cancel it in the middle of whatever it does."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Service:
    """A running service and a client that speaks to it."""

    # Of its command line, and of its settings in the environment.
    commands: Group
    prefix: str = ""

    def __init__(
        self, client: aiohttp.ClientSession, make: Callable[[int], AbstractAsyncContextManager[int]]
    ) -> None:
        self.client, self._make = client, make
        self.port = 0
        self.node = self.token = ""
        self.settings: Any = None
        self.running: Running | None = None

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        """Start, on the port that it had before; at first on one that nobody is given while it is stopped."""
        self.running = Running(self._make(self.port or free_port()))
        self.port = await self.running.port()
        return self

    async def stop(self) -> None:
        """Stop gracefully."""
        if self.running is not None:
            running, self.running = self.running, None
            await running.stop()

    async def cut(self) -> None:
        """Stop in the middle of whatever it does."""
        if self.running is not None:
            running, self.running = self.running, None
            await running.cut()

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "own",
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> tuple[int, Any, Any]:
        """Status, decoded body (bytes where it is no JSON) and headers of one request."""
        sent = dict(headers or {})
        if token is not None and (token != "own" or self.token):
            sent["Authorization"] = f"Bearer {self.token if token == 'own' else token}"
        async with self.client.request(method, self.url + path, headers=sent, **options) as response:
            body = await response.read()
            if response.content_type.endswith("json") and "nd" not in response.content_type and body:
                return response.status, msgspec.json.decode(body), response.headers
            return response.status, body, response.headers

    async def get(self, path: str, **options: Any) -> Any:
        """The body of a GET that must succeed."""
        status, body, _ = await self.call("GET", path, token=None, **options)
        assert status == 200, (path, status, body)
        return body

    async def command(self, *words: str) -> str:
        """What a command of this service prints; it must succeed."""
        done = await self.tried(*words)
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.output

    async def tried(self, *words: str) -> Result:
        """What became of a command of this service, in a thread, as it brings an event loop of its own."""
        env = environ(self.settings, self.prefix)
        return await asyncio.to_thread(CliRunner().invoke, self.commands, list(words), env=env)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all samples with these labels."""
        text = (await self.get("/metrics")).decode()
        samples = (line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples if all(w in line for w in wanted))


class Registry(Service):
    """One network's registry, with an admin token."""

    commands, prefix = registry_commands.main, registry_settings.PREFIX
    root: Path

    async def key(self, *words: str) -> str:
        """A command of `key` that the root key signs."""
        return await self.command("key", *words, "--root-key", str(self.root))

    async def add(self, **place: Any) -> Any:
        """Add a place; what was answered."""
        body = {
            "name": f"Lieu {uuid4().hex[:8]}",
            "status": "open",
            "address": {"postcode": "35000"},
            **place,
        }
        status, written, _ = await self.call("POST", "/places", json=body)
        assert status == 201, written
        return written

    async def change(self, id: str, **fields: Any) -> Any:
        """Change fields of a place, whatever its version."""
        headers = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
        status, written, _ = await self.call(
            "PATCH", f"/places/{id}", headers=headers, data=msgspec.json.encode(fields)
        )
        assert status == 200, written
        return written

    async def withdraw(self, id: str) -> None:
        """Take a place back."""
        status, written, _ = await self.call("DELETE", f"/places/{id}", headers={"If-Match": "*"})
        assert status == 200, written

    async def claim(self, a: str, b: str, verdict: str = "same", **said_too: str) -> Any:
        """Say how two records relate."""
        body = {"a": a, "b": b, "verdict": verdict, **said_too}
        status, said, _ = await self.call("POST", "/claims", json=body)
        assert status in (200, 201), said
        return said

    async def list_in(self, data: bytes, media: str = "text/csv", **query: str) -> Any:
        """Import a list and wait for its end."""
        status, job, _ = await self.call(
            "POST", "/imports", params={"mode": "apply", **query}, data=data, headers={"Content-Type": media}
        )
        assert status == 202, job

        async def ended() -> Any:
            _, now, _ = await self.call("GET", f"/imports/{job['id']}")
            return now if now["state"] in ("done", "failed") else None

        return await eventually(ended, 60)

    async def token_for(self, role: str) -> str:
        """A token of this role."""
        made = registry_store.Token(
            id=uuid4(), name=role, role=role, created_at=ledger.clock(), expires_at=None, revoked_at=None
        )
        return await registry_commands._add(self.settings, made)

    async def feed(self) -> list[dict[str, Any]]:
        """All events of the log, decoded."""
        events: list[dict[str, Any]] = []
        after = "0.0"
        while True:
            lines = (await self.get(f"/feed?after={after}&limit=1000")).splitlines()
            found = [msgspec.json.decode(msgspec.json.decode(line)["raw"]) for line in lines[:-1]]
            if not found:
                return events
            events += found
            after = f"{found[-1]['epoch']}.{int(found[-1]['sequence'])}"


class Sync(Service):
    """A sync."""

    commands, prefix = sync_commands.main, sync_settings.PREFIX

    async def networks(self) -> dict[str, Any]:
        """How it goes with each followed node, by id."""
        return {n["node"]: n for n in (await self.get("/networks"))["networks"]}

    async def hears(self, node: str) -> None:
        """Wait until a node is live: where the machine is busy, a heartbeat may have been late."""

        async def live() -> bool:
            return bool((await self.networks())[node]["state"] == "live")

        await eventually(live)

    async def digest(self) -> Any:
        """What two syncs compare."""
        return await self.get("/digest")

    async def caught_up(self, registries: Sequence[Registry], seconds: float = 60) -> Any:
        """Wait until the view stands at the present heads of these registries; its digest."""
        wanted = {}
        for registry in registries:
            lines = (await registry.get("/feed?after=0.0&limit=1")).splitlines()
            checkpoint = msgspec.json.decode(msgspec.json.decode(lines[-1])["checkpoint"]["raw"])
            wanted[registry.node] = await head_size(registry, checkpoint["size"])

        async def there() -> Any:
            digest = await self.digest()
            sizes = {h["node"]: h["size"] for h in digest["heads"]}
            return digest if all(sizes.get(n, -1) >= size for n, size in wanted.items()) else None

        return await eventually(there, seconds)


async def head_size(registry: Registry, at_least: int) -> int:
    """How many events a registry's log has now."""
    size = at_least
    while True:
        lines = (await registry.get(f"/feed?after=1.{size}&limit=1000")).splitlines()
        if len(lines) == 1:
            return size
        size += len(lines) - 1


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """The first true answer of `check`; fails after so many seconds with the last one."""
    deadline = monotonic() + seconds
    while True:
        answer = await check()
        if answer:
            return answer
        assert monotonic() < deadline, f"not within {seconds} s: {check.__qualname__}: {answer!r}"
        await asyncio.sleep(0.02)


def environ(settings: Any, prefix: str = registry_settings.PREFIX) -> dict[str, str]:
    """The settings of a service as the environment that says them."""
    said = {name: value for name, value in msgspec.to_builtins(settings).items() if value is not None}
    return {prefix + name.upper(): _written(value) for name, value in said.items()}


def _written(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


async def new_registry(
    client: aiohttp.ClientSession, database_url: str, folder: Path, **settings: Any
) -> Registry:
    """A registry with an identity and an admin token, not yet started."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = RegistrySettings(
        database_url=database_url, port=0, key_dir=str(folder / "keys"), **{"heartbeat_s": 2, **settings}
    )

    def make(port: int) -> AbstractAsyncContextManager[int]:
        return registry_app.serving(msgspec.structs.replace(registry.settings, port=port))

    registry = Registry(client, make)
    registry.settings = chosen
    registry.root = folder / "root.key"
    registry.node = (await keys.founded(chosen, [registry.root])).node
    registry.token = await registry.token_for("admin")
    return registry


def new_sync(
    client: aiohttp.ClientSession,
    database_url: str,
    folder: Path,
    registries: Sequence[Registry],
    **settings: Any,
) -> Sync:
    """A sync that listens to these registries, not yet started."""
    folder.mkdir(parents=True, exist_ok=True)
    listen_to(folder, registries)
    chosen = SyncSettings(
        database_url=database_url,
        port=0,
        key_dir=str(folder / "keys"),
        trust=str(folder / "trust.toml"),
        **{"heartbeat_s": 2, **settings},
    )

    def make(port: int) -> AbstractAsyncContextManager[int]:
        return sync_app.serving(msgspec.structs.replace(chosen, port=port))

    sync = Sync(client, make)
    sync.settings = chosen
    return sync


def listen_to(folder: Path, registries: Sequence[Registry], muted: Sequence[str] = ()) -> None:
    """Write the trust file."""
    tables = (
        f'[[node]]\nnode = "{r.node}"\nurl = "{r.url}"\nalias = "reseau-{i}"\n'
        f'mode = "{"muted" if r.node in muted else "follow"}"\n'
        for i, r in enumerate(registries)
    )
    (folder / "trust.toml").write_text("\n".join(tables))
