"""The doctor's command as an operator or a monitoring system runs it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import click
import msgspec
import structlog
from click.testing import CliRunner, Result

from services.doctor import Line, Report

Marks = dict[str, set[str]]


class Visit:
    """One run of the command with `--json`: its report, and all that it printed."""

    def __init__(self, result: Result) -> None:
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.output, self.code = result.output, result.exit_code
        self.report = msgspec.json.decode(result.stdout, type=Report)
        assert self.report.code == self.code

    def troubles(self) -> dict[str, str]:
        """The checks that found something, with their gravest mark."""
        found: dict[str, str] = {}
        for line in self.report.findings:
            if line.mark != "ok" and found.get(line.check) != "broken":
                found[line.check] = line.mark
        return found

    def of(self, check: str) -> list[Line]:
        """The lines of a check."""
        return [line for line in self.report.findings if line.check == check]

    def told(self, check: str) -> str:
        """What a check says, and what it has one do."""
        return " ".join(f"{line.what} → {line.todo}" for line in self.of(check))


def environ(prefix: str, settings: Any, **other: str) -> dict[str, str]:
    """These settings as the environment that says them; a language that is not French unless it is said."""
    given = {name: value for name, value in msgspec.to_builtins(settings).items() if value not in (None, ())}
    said = {
        prefix + name.upper(): value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in given.items()
    }
    unset = dict.fromkeys((name for name in os.environ if name.startswith("MAILLAGE_")), None)
    return {**unset, "LC_ALL": "C.UTF-8", **said, **other}  # type: ignore[dict-item]


async def run(main: click.Command, env: dict[str, str], *words: str) -> Result:
    """The command in a thread, as it starts an event loop of its own."""
    with logging_as_before():
        return await asyncio.to_thread(CliRunner().invoke, main, ["doctor", *words], env=env)


async def visit(service: ModuleType, settings: Any, *words: str, **other: str) -> Visit:
    """What the doctor of a service says; `service` is its `__main__`."""
    return Visit(await run(service.main, environ(service.PREFIX, settings, **other), "--json", *words))


@contextmanager
def logging_as_before() -> Iterator[None]:
    """The command sets up logging for its process; here the tests go on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
