"""The secrets of one operator's engines: made once, into a folder that only its own containers mount."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

FEED_ONLY = r"^maillage\.feed$"
# Read by the engines' own accounts inside their containers; the volume is what keeps others out.
MODE = 0o644


@dataclass(frozen=True)
class Place:
    """Where an operator's engines are, and the name of its database, virtual host and accounts."""

    name: str
    postgres: str
    rabbitmq: str | None
    rabbitmq_public: str | None = None

    @property
    def broker(self) -> str:
        """Where the operator's own service reaches the broker."""
        return f"{self.rabbitmq}:5672/{self.name}"

    @property
    def public_broker(self) -> str:
        """Where everybody else does."""
        if self.rabbitmq_public is None:
            return self.broker
        port = "" if ":" in self.rabbitmq_public else ":5672"
        return f"{self.rabbitmq_public}{port}/{self.name}"


def make(folder: Path, place: Place) -> None:
    """Write what PostgreSQL, RabbitMQ and the service need to know; what exists is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    password = kept(folder / "postgres-password", secrets.token_urlsafe(24))
    write(folder / "database-url", f"postgresql://maillage:{password}@{place.postgres}:5432/maillage")
    if place.rabbitmq is None:
        return
    owner = kept(folder / "rabbitmq-password", secrets.token_urlsafe(24))
    reader = kept(folder / "rabbitmq-reader-password", secrets.token_urlsafe(24))
    write(folder / "amqp-url", f"amqp://{place.name}:{owner}@{place.broker}")
    write(folder / "amqp-public-url", f"amqp://{place.name}-lecture:{reader}@{place.public_broker}")
    write(folder / "rabbitmq-definitions.json", definitions(place.name, owner, reader))
    write(folder / "rabbitmq.conf", f"load_definitions = {folder}/rabbitmq-definitions.json\n")


def definitions(name: str, owner: str, reader: str) -> str:
    """One virtual host, the network's own account, and one that reads the stream and nothing else."""
    return json.dumps(
        {
            "vhosts": [{"name": name}],
            "users": [account(name, owner), account(f"{name}-lecture", reader)],
            "permissions": [
                {"user": name, "vhost": name, "configure": ".*", "write": ".*", "read": ".*"},
                {
                    "user": f"{name}-lecture",
                    "vhost": name,
                    "configure": "^$",
                    "write": "^$",
                    "read": FEED_ONLY,
                },
            ],
        }
    )


def account(name: str, password: str) -> dict[str, object]:
    """An account in RabbitMQ's definitions, its password salted and hashed."""
    salt = secrets.token_bytes(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    hashing = "rabbit_password_hashing_sha256"
    return {"name": name, "password_hash": digest, "hashing_algorithm": hashing, "tags": []}


def kept(file: Path, fresh: str) -> str:
    """What the file says, or the fresh text, written there."""
    if not file.exists():
        write(file, fresh)
    return file.read_text()


def write(file: Path, text: str) -> None:
    """Write a file in one step."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.chmod(MODE)
    part.replace(file)
