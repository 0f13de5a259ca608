"""One child process: started with a log, tied to its parent's life, stopped with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.02
# Below those that the kernel gives to whoever asks for any: a port found free here is still free a moment later.
# And above 10080, which browsers refuse to open.
QUIETEST = range(10_100, 32_000)
# In the order in which they are given out: whoever got one may use it later than the next asks.
QUIET: deque[int] = deque()
# How many of them are for one process that shares them with others.
SHARE = 2_000
LOG_TAIL_LINES = 15
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A part of the federation did not start; the message says which, why, and what to do."""


@dataclass
class Process:
    """A command that dies with its parent, even when the parent is killed.

    `user` is the account a root parent gives up its rights for. Start it from a thread that lives as long as
    the parent should: Linux sends the death signal when the starting *thread* ends.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """The exit code of the last run; None when it runs or never ran."""
        return self._popen.poll() if self._popen else None

    def start(self) -> None:
        """Start it; what it prints is appended to the log. Does not wait until it is ready."""
        if self.pid is not None:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.cwd,
                user=self.user,
                group=primary_group(self.user) if self.user else None,
                extra_groups=[] if self.user else None,
                # A session of its own keeps the terminal's Ctrl-C for the supervisor, which stops in order.
                start_new_session=True,
                preexec_fn=lambda: die_with(parent),
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self._popen and self.pid is not None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """Kill it at once (SIGKILL) and reap it."""
        if self._popen and self.pid is not None:
            self._popen.kill()
            self._popen.wait()

    async def stop(self, deadline_s: float = 3.0) -> None:
        """Ask it to stop, and kill it when it has not by the deadline."""
        self.send(self.stop_signal)
        if not await self.ended(deadline_s):
            self.kill()

    async def ended(self, deadline_s: float) -> bool:
        """Wait until it has ended; False when it has not by the deadline."""
        try:
            await wait_until(self._ended, deadline_s, self.name)
        except Failed:
            return False
        return True

    async def ready(self, answers: Callable[[], Awaitable[bool]], deadline_s: float = 30.0) -> None:
        """Wait until `answers` says yes; raises Failed with the end of the log when it does not."""

        async def settled() -> bool:
            return self.pid is None or await answers()

        try:
            await wait_until(settled, deadline_s, self.name)
        except Failed as late:
            raise Failed(f"{self.name} does not answer after {deadline_s:.0f} s\n{self.tail()}") from late
        if self.pid is None:
            raise Failed(f"{self.name} ended with code {self.returncode}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the log, and where it is."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([*lines[-LOG_TAIL_LINES:], f"(log: {self.log})"])

    async def _ended(self) -> bool:
        return self.pid is None


async def output(command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path) -> str:
    """What a short command prints, stripped; raises Failed with its complaint when it fails."""
    parent = os.getpid()
    running = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=cwd,
        preexec_fn=lambda: die_with(parent),
    )
    printed, complaint = await running.communicate()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as kept:
        kept.write(complaint)
    if running.returncode:
        shown = (complaint or printed).decode(errors="replace").strip()
        raise Failed(f"{' '.join(command[1:5])} ended with code {running.returncode}\n{shown[-2000:]}")
    return printed.decode().strip()


def die_with(parent: int) -> None:
    """In a child: ask the kernel for SIGKILL when the parent ends, and end now if it already has."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind when they are killed, so that we can reap it."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(own: Iterable[int | None]) -> None:
    """Reap adopted children that have ended; our `own` are left to those who started them."""
    kept = set(own)
    for pid in children():
        if pid not in kept:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def children() -> list[int]:
    """The process ids of our children, ended but not reaped ones among them."""
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


async def orphans_ended(deadline_s: float) -> None:
    """Reap adopted children until none is left or the deadline has come."""

    async def none_left() -> bool:
        reap_orphans([])
        return not children()

    with contextlib.suppress(Failed):
        await wait_until(none_left, deadline_s, "orphans")


def primary_group(user: str) -> int:
    """The main group id of an account."""
    import pwd

    return pwd.getpwnam(user).pw_gid


async def wait_until(condition: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> None:
    """Poll a condition until it holds; raises Failed after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not await condition():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {deadline_s:.0f} s")
        await asyncio.sleep(POLL_S)


async def port_answers(port: int) -> bool:
    """Whether something accepts TCP connections on a loopback port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def url_answers(url: str) -> bool:
    """Whether a URL answers 200 within a second."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return await asyncio.to_thread(ask)


def keep_to(number: int) -> None:
    """Take free ports from a part of the quiet ones that other processes with other numbers do not take from."""
    start = QUIETEST.start + number * SHARE % len(QUIETEST)
    _take_from(range(start, min(start + SHARE, QUIETEST.stop)))


def _take_from(ports: range) -> None:
    QUIET.clear()
    QUIET.extend(ports)
    QUIET.rotate(random.SystemRandom().randrange(len(ports)))


def free_port(preferred: int | None = None) -> int:
    """A loopback TCP port nobody listens on: the preferred one or the next free ones above it, else any."""
    for port in _wanted(preferred):
        with socket.socket() as probe:
            # Ports of connections just closed may be taken again; ports somebody listens on may not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed(f"no free port from {preferred or QUIETEST.start} on")


def _wanted(preferred: int | None) -> Iterator[int]:
    if preferred is not None:
        yield from range(preferred, min(preferred + 500, 65536))
        return
    if not QUIET:
        _take_from(QUIETEST)
    for _ in range(500):
        QUIET.rotate(-1)
        yield QUIET[-1]
