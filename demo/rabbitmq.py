"""A private RabbitMQ broker: found or fetched, on loopback, gone without a trace when its owner ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from demo import debian
from demo.process import Failed, Process, free_port, port_answers, wait_until

SETTING = "MAILLAGE_DEMO_RABBITMQ"
FEED_ONLY = r"^maillage\.feed$"
NOTHING = "^$"
ALL = ".*"
ADVICE = f"Install rabbitmq-server, or set {SETTING} to the folder of rabbitmq-server and rabbitmqctl."


@dataclass(frozen=True)
class Programs:
    """Where RabbitMQ's scripts and Erlang's programs are."""

    scripts: Path
    erlang: Path | None = None

    def path(self) -> str:
        """The PATH these programs need."""
        own = [str(folder) for folder in (self.scripts, self.erlang) if folder]
        # The person's own folders come last: her Erlang may lie there.
        return ":".join([*own, "/usr/lib/erlang/bin", "/usr/bin", "/bin", os.environ.get("PATH", "")])


@dataclass(frozen=True)
class Vhost:
    """One network's corner of a broker: a virtual host, its own account, and one that reads the feed."""

    name: str
    port: int
    password: str
    reader_password: str

    @property
    def url(self) -> str:
        """The account that may do everything in this virtual host."""
        return f"amqp://{self.name}:{self.password}@127.0.0.1:{self.port}/{self.name}"

    @property
    def reader_url(self) -> str:
        """The account for other people's followers: it reads the stream `maillage.feed`, nothing else."""
        return f"amqp://{self.name}-lecture:{self.reader_password}@127.0.0.1:{self.port}/{self.name}"


def find(cache: Path) -> Programs:
    """RabbitMQ's programs: the setting, the system's, else Debian's packages unpacked below `cache`.

    Raises Failed with the reason and the thing to do when there is none.
    """
    wanted = os.environ.get(SETTING)
    if installed := on_this_machine():
        return installed
    if wanted:
        raise Failed(f"{SETTING} is {wanted}, where there is no rabbitmq-server.")
    try:
        root = debian.unpacked(cache)
    except Failed as why:
        raise Failed(f"{why} {ADVICE}") from why
    return Programs(root / "usr/lib/rabbitmq/bin", root / "usr/lib/erlang/bin")


def on_this_machine() -> Programs | None:
    """The programs that the setting names or the system has; None when they would have to be fetched."""
    folder = Path(os.environ.get(SETTING) or "/usr/lib/rabbitmq/bin")
    return Programs(folder) if (folder / "rabbitmq-server").is_file() else None


@dataclass
class RabbitMQ:
    """One broker on loopback with its own node name, ports, folders, cookie and port mapper.

    `vhosts` names the virtual hosts that exist from the first start; fetched programs are kept in `cache`.
    """

    folder: Path
    cache: Path
    vhosts: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    log: Path | None = None
    mapper_port: int = field(default_factory=free_port)
    distribution_port: int = field(default_factory=free_port)
    _broker: Process | None = None
    _mapper: Process | None = None
    _programs: Programs | None = None
    _way: TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._broker.pid if self._broker else None

    def vhost(self, name: str) -> Vhost:
        """A virtual host by name, with the URLs of its two accounts."""
        key = (self.folder / "secret").read_text()
        return Vhost(name, self.port, derived(key, name), derived(key, f"{name}-lecture"))

    @property
    def to_fetch(self) -> bool:
        """Whether the first start has to fetch the programs."""
        return not on_this_machine() and not debian.is_unpacked(self.cache)

    async def start(self) -> None:
        """Find or fetch the programs, write the settings, start, wait until clients are let in."""
        programs = self._programs = await asyncio.to_thread(find, self.cache)
        self._configure()
        self._open_way(programs)
        for left in (self._broker, self._mapper):
            if left:
                # A broker that was killed leaves its mapper behind, on the port that the next one needs.
                await left.stop(1)
        self._broker, self._mapper = self._broker_process(programs), self._mapper_process(programs)
        # Ours to start: a broker that finds no port mapper leaves one behind as a daemon.
        self._mapper.start()
        await self._mapper.ready(lambda: port_answers(self.mapper_port), 10)
        self._broker.start()
        await self._broker.ready(self.answers, 90)

    async def stop(self, deadline_s: float = 6.0) -> None:
        """Stop the broker in good order, or kill it after the deadline; then its port mapper."""
        if self._broker:
            await self._broker.stop(deadline_s)
        if self._mapper:
            await self._mapper.stop(1)
        self._close_way()

    def kill(self) -> None:
        """Kill the broker (SIGKILL)."""
        for process in (self._broker, self._mapper):
            if process:
                process.kill()
        self._close_way()

    async def answers(self) -> bool:
        """Whether the broker speaks AMQP: it opens the port only when every virtual host is up."""
        if not await port_answers(self.port):
            return False
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"AMQP\x00\x00\x09\x01")
            return await asyncio.wait_for(reader.read(1), 2) == b"\x01"
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    def import_vhosts(self, names: Sequence[str]) -> None:
        """Make more virtual hosts and their accounts in the running broker: a second, and 40 ms for each."""
        file = self.folder / f"definitions-{secrets.token_hex(4)}.json"
        file.write_text(json.dumps(definitions([self.vhost(name) for name in names])))
        self.control("import_definitions", str(file))
        file.unlink()

    async def until_gone(self) -> None:
        """Wait until nothing answers on the broker's port."""

        async def gone() -> bool:
            return not await port_answers(self.port)

        await wait_until(gone, 20, "rabbitmq")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this broker and give what it prints; raises Failed with its complaint."""
        programs = self._programs or find(self.cache)
        done = subprocess.run(
            [str(self._scripts(programs) / "rabbitmqctl"), "-q", *arguments],
            env=self._environment(programs),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _scripts(self, programs: Programs) -> Path:
        return Path(self._way.name, "rabbitmq", "sbin") if self._way else programs.scripts

    def _open_way(self, programs: Programs) -> None:
        """RabbitMQ's scripts break below a folder with a space in its name: lead to them around it."""
        real = (programs.scripts / "rabbitmq-server").resolve().parent
        if self._way is None and any(letter.isspace() for letter in str(real)):
            self._way = TemporaryDirectory(prefix="maillage-", ignore_cleanup_errors=True)
            Path(self._way.name, "rabbitmq").symlink_to(real.parent)

    def _close_way(self) -> None:
        if self._way:
            self._way.cleanup()
            self._way = None

    def _broker_process(self, programs: Programs) -> Process:
        return Process(
            "rabbitmq",
            [str(self._scripts(programs) / "rabbitmq-server")],
            self.log or self.folder / "rabbitmq.log",
            environment=self._environment(programs),
            cwd=self.folder,
            stop_signal=signal.SIGTERM,
        )

    def _mapper_process(self, programs: Programs) -> Process:
        return Process(
            "epmd",
            ["epmd", "-address", "127.0.0.1", "-port", str(self.mapper_port)],
            self.folder / "epmd.log",
            environment=self._environment(programs),
            cwd=self.folder,
        )

    def _environment(self, programs: Programs) -> dict[str, str]:
        return {
            **({"RABBITMQ_SCRIPTS_DIR": str(self._scripts(programs))} if self._way else {}),
            "PATH": programs.path(),
            "HOME": str(self.folder),  # the cookie is read there
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.mapper_port),
            "RABBITMQ_NODENAME": f"maillage{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            # Nothing of the machine's own broker is read.
            "RABBITMQ_CONFIG_FILES": str(self.folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # Replaces the start script by the broker instead of leaving a shell between it and its owner.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
            # Threads that wait do not spin: the processor is for the others.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("secret", ".erlang.cookie"):
            if not (file := self.folder / name).exists():
                file.touch(mode=0o600)
                file.write_text(secrets.token_hex(20))
        (self.folder / ".erlang.cookie").chmod(0o400)
        (self.folder / "plugins").write_text("[].\n")
        known = self.folder / "definitions.json"
        known.write_text(json.dumps(definitions([self.vhost(name) for name in self.vhosts])))
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"load_definitions = {known}\n"
            "disk_free_limit.absolute = 50MB\n"
            "vm_memory_high_watermark.relative = 0.6\n"
            "log.console.level = warning\n"
        )


def definitions(vhosts: Sequence[Vhost]) -> dict[str, Any]:
    """The virtual hosts, accounts and permissions in RabbitMQ's own definitions format."""
    return {
        "vhosts": [{"name": vhost.name} for vhost in vhosts],
        "users": [user for vhost in vhosts for user in accounts(vhost)],
        "permissions": [permission for vhost in vhosts for permission in permissions(vhost)],
    }


def accounts(vhost: Vhost) -> list[dict[str, Any]]:
    """The two accounts of a virtual host."""
    pairs = [(vhost.name, vhost.password), (f"{vhost.name}-lecture", vhost.reader_password)]
    return [
        {
            "name": name,
            "password_hash": hashed(password),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
        }
        for name, password in pairs
    ]


def permissions(vhost: Vhost) -> list[dict[str, str]]:
    """Everything for the network itself, the stream alone for readers."""
    return [
        {"user": vhost.name, "vhost": vhost.name, "configure": ALL, "write": ALL, "read": ALL},
        {
            "user": f"{vhost.name}-lecture",
            "vhost": vhost.name,
            "configure": NOTHING,
            "write": NOTHING,
            "read": FEED_ONLY,
        },
    ]


def hashed(password: str) -> str:
    """RabbitMQ's salted SHA-256 of a password, base64."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def derived(key: str, name: str) -> str:
    """An account's password, the same at every start: a keyed hash of its name."""
    return hashlib.blake2b(name.encode(), key=key.encode(), digest_size=18).hexdigest()
