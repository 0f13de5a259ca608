"""What the demo will run: names, ports, folders and settings of every process. Starts nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import ClassVar

from demo.control import claimed
from demo.lists import List
from demo.process import Failed, free_port
from demo.rabbitmq import Vhost

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_BASE = 8400
NETWORKS, SYNCS, NOTIFY, ENGINES = 0, 60, 80, 90
HEARTBEAT_S = 10


@dataclass(frozen=True)
class Folder:
    """Where a demo keeps its things."""

    path: Path

    ERASED: ClassVar[str] = ".erased-"

    @property
    def data(self) -> Path:
        """Databases, queues, keys, tokens: what `--keep` keeps."""
        return self.path / "data"

    @property
    def logs(self) -> Path:
        """One readable log for each process."""
        return self.path / "logs"

    @property
    def marker(self) -> Path:
        """The sign that the demo made this folder, and so may replace what is in it."""
        return self.path / ".maillage-demo"

    @property
    def kept(self) -> Path:
        """The choices of a federation whose data are kept; not there when they are not."""
        return self.data / "kept.json"

    @property
    def temporary(self) -> Path:
        """What services write for a moment; beside the data, so that it goes with them."""
        return self.data / "tmp"

    @property
    def federation(self) -> Path:
        """The addresses of everything, written when everything answers."""
        return self.path / "federation.json"

    def log(self, name: str) -> Path:
        """The log of a process."""
        return self.logs / f"{name}.log"

    def keys(self, name: str) -> Path:
        """The folder of a node's online keys."""
        return self.data / "keys" / name

    def root_key(self, name: str) -> Path:
        """The file of a network's root key, kept apart from its online keys."""
        return self.data / "root-keys" / f"{name}.key"

    def token(self, name: str) -> Path:
        """The file of a network's admin token."""
        return self.data / "tokens" / name


@dataclass
class Ports:
    """Loopback ports: near a base, the same at every start where they are free.

    With a `strict` base a port that is taken raises Failed; else the next free one is used.
    """

    base: int | None
    remembered: dict[str, int] = field(default_factory=dict)
    claims: list[socket] = field(default_factory=list)

    def of(self, name: str, offset: int) -> int:
        """The port of a part."""
        wanted = self.remembered.get(name, (self.base or DEFAULT_BASE) + offset)
        port = free_port(wanted)
        while not self._claim(port):
            port = free_port(port + 1)
        if self.base is not None and port != wanted:
            raise Failed(f"Le port {wanted} est déjà pris. / Port {wanted} is taken.")
        self.remembered[name] = port
        return port

    def _claim(self, port: int) -> bool:
        """Keep a port from other demos: what is free now may be theirs before our process listens."""
        held = claimed(f"\0maillage-demo-port-{port}")
        if held is None:
            return False
        self.claims.append(held)
        return True


def remembered_ports(folder: Folder) -> dict[str, int]:
    """The ports of the run that was kept, none otherwise."""
    file = folder.data / "ports.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def remember_ports(folder: Folder, ports: Ports) -> None:
    """Keep the ports for the next run: other nodes know the addresses."""
    (folder.data / "ports.json").write_text(json.dumps(ports.remembered))


@dataclass(frozen=True)
class Node:
    """One service of the federation and where it listens."""

    name: str
    service: str
    port: int
    title: str

    @property
    def url(self) -> str:
        """Its public URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        """The name of its own database."""
        return self.name


@dataclass(frozen=True)
class Plan:
    """All services of a federation."""

    networks: list[Node]
    syncs: list[Node]
    notify: Node

    @property
    def nodes(self) -> list[Node]:
        """Every service, in the order in which they can start."""
        return [*self.networks, *self.syncs, self.notify]

    @property
    def publishers(self) -> list[Node]:
        """The services that publish a log, and so have a virtual host."""
        return [*self.networks, *self.syncs]


def plan(lists: list[List], syncs: int, ports: Ports) -> Plan:
    """The services for these lists and that many syncs, each on its port."""
    return Plan(
        networks=[
            Node(each.alias, "registry", ports.of(each.alias, NETWORKS + number), each.name)
            for number, each in enumerate(lists)
        ],
        syncs=[
            Node(f"sync-{number}", "sync", ports.of(f"sync-{number}", SYNCS + number - 1), f"Vue {number}")
            for number in range(1, syncs + 1)
        ],
        notify=Node("notify", "notify", ports.of("notify", NOTIFY), "Annonces"),
    )


def environment(node: Node, settings: Mapping[str, str | None]) -> dict[str, str]:
    """A service's environment: ours without anybody else's settings, and its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILLAGE_")}
    prefix = f"MAILLAGE_{node.service.upper()}_"
    common = {"HOST": "127.0.0.1", "PORT": str(node.port), "URL": node.url}
    own = {name: value for name, value in {**common, **settings}.items() if value is not None}
    return {**inherited, "PYTHONUNBUFFERED": "1", **{prefix + name: value for name, value in own.items()}}


def publisher_settings(node: Node, folder: Folder, vhost: Vhost | None) -> dict[str, str | None]:
    """What registries and syncs are told alike: who they are, where their keys and their broker are."""
    return {
        "KEY_DIR": str(folder.keys(node.name)),
        "SLUG": node.name,
        "NAME": node.title,
        "CONTACT": f"contact@{node.name}.example",
        "HEARTBEAT_S": str(HEARTBEAT_S),
        "AMQP_URL": vhost.url if vhost else None,
        "AMQP_PUBLIC_URL": vhost.reader_url if vhost else None,
    }


def trust(followed: Mapping[str, Node]) -> str:
    """The trust.toml of a sync that follows these nodes, by node id."""
    tables = [
        f'[[node]]\nnode = "{node_id}"\nurl = "{node.url}"\nmode = "follow"\nalias = "{node.name}"\n'
        for node_id, node in followed.items()
    ]
    return "\n".join(tables)
