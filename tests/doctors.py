"""The doctor's command as an operator or a monitoring system runs it, and nodes that are in good health."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import click
import msgspec
from click.testing import CliRunner, Result

from demo.process import free_port
from services.doctor import Check, Finding, Line, Patient, Report, examined, told
from services.ledger import clock
from services.registry import app as registry_app
from services.registry import backups
from tests.conftest import Federation
from tests.nodes import Registry, Service


class Visit:
    """One run of the command with `--json`: its report, and all that it printed."""

    def __init__(self, result: Result) -> None:
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.output, self.code = result.output, result.exit_code
        self.report = msgspec.json.decode(result.stdout, type=Report)
        assert self.report.code == self.code

    @property
    def troubles(self) -> dict[str, str]:
        """The checks that found something, with their gravest mark."""
        found: dict[str, str] = {}
        for line in self.report.findings:
            if line.mark != "ok" and found.get(line.check) != "broken":
                found[line.check] = line.mark
        return found

    def told(self, check: str) -> str:
        """What a check says, and what it has one do."""
        lines: list[Line] = [line for line in self.report.findings if line.check == check]
        assert lines, f"{check} says nothing"
        return "\n".join(f"{line.what} → {line.todo}" for line in lines)


def environ(service: str, settings: Any, **other: str) -> dict[str, str | None]:
    """These settings as the environment that says them; a language that is not French unless it is said."""
    given = {name: value for name, value in msgspec.to_builtins(settings).items() if value is not None}
    said = {
        f"MAILLAGE_{service.upper()}_{name.upper()}": value
        if isinstance(value, str)
        else msgspec.json.encode(value).decode()
        for name, value in given.items()
    }
    unset = {name: None for name in os.environ if name.startswith("MAILLAGE_")}
    return {**unset, "LC_ALL": "C.UTF-8", **said, **other}


async def run(main: click.Group, env: dict[str, str | None], *words: str, command: str = "doctor") -> Result:
    """The command in a thread, as it starts an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, [command, *words], env=env)


async def visit(main: click.Group, settings: Any, *words: str, **other: str) -> Visit:
    """What the doctor of a service says."""
    service = (main.name or "").rpartition(".")[2]
    # A busy machine is not what is looked for.
    patience = ("--within", "60")
    return Visit(await run(main, environ(service, settings, **other), "--json", *patience, *words))


async def findings(
    main: click.Group, settings: Any, *made: Check, within: float = 60, **options: Any
) -> dict[str, list[Finding]]:
    """What these checks find, without the command around them."""
    found: dict[str, list[Finding]] = {}
    service = (main.name or "").rpartition(".")[2]
    async with aiohttp.ClientSession() as client:
        at = Patient(service, settings, registry_app.SCRIPTS, client, **options)
        async for name, finding in examined(at, made, within):
            found.setdefault(name, []).append(finding)
    return found


def english(found: Sequence[Finding]) -> str:
    """What these findings say, and what they have one do."""
    lines = [told("", finding, "en") for finding in found]
    return "\n".join(f"{line.what} → {line.todo}" for line in lines)


def settled(service: Service, **other: Any) -> Any:
    """The settings of a service that runs on a port it was given, as its operator wrote them."""
    return msgspec.structs.replace(service.settings, port=service.port, **other)


async def at_home(service: Service, port: int) -> None:
    """Start a service on this port, which is that of its public URL."""
    service.port = port
    await service.start()


async def healthy_registry(federation: Federation, places: int = 3, **settings: Any) -> Registry:
    """A registry with places, whose operator has done all that she was told to."""
    port = free_port()
    registry = await federation.registry(start=False, url=f"http://127.0.0.1:{port}", **settings)
    folder = Path(registry.settings.key_dir)
    away = folder.parent / "elsewhere"
    away.mkdir()
    (folder.parent / "root.key").rename(away / "root.key")
    backed_up(folder)
    await at_home(registry, port)
    for _ in range(places):
        await registry.add()
    return registry


def backed_up(folder: Path) -> None:
    """Leave what `backup` leaves."""
    backups.note(folder, backups.Backup(at=clock(), epoch=1, size=0))


async def sql(service: Service, statement: str, *arguments: Any) -> Any:
    """One value, or nothing, from a statement on the database of a service."""
    connection = await asyncpg.connect(service.settings.database_url)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()
