"""Programs of others, run as people run them, while the sync that they read is at work in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
# On an idle machine the slowest takes half a minute.
PATIENCE = 900


async def run(command: Sequence[str], folder: Path | None = None, **environment: str) -> tuple[int, str]:
    """The code with which a program ends, and all that it said; a program that does not end fails the test."""
    import os

    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, said.decode(errors="replace")


async def said(command: Sequence[str], folder: Path | None = None, **environment: str) -> str:
    """What a program says; it must end well."""
    code, text = await run(command, folder, **environment)
    assert code == 0, f"{' '.join(command)}\n{text}"
    return text


async def aside(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a library answers that waits for its answers, beside the sync that gives them."""
    return await asyncio.to_thread(function, *arguments, **named)
