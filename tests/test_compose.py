"""The compose file: engines of each operator's own, no secret written down, entry points that work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import aiohttp
import pytest
import yaml

from demo.postgres import Postgres
from demo.process import Failed, Process, free_port, output, url_answers, wait_until
from deploy import secret, trust
from deploy.__main__ import resolved
from tests.engines import Broker

ROOT = Path(__file__).parent.parent
DEPLOY = (sys.executable, "-m", "deploy")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file as data."""
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def lasting(compose: dict[str, Any]) -> dict[str, Any]:
    """The containers that stay up."""
    return {name: told for name, told in compose["services"].items() if not name.endswith("-secrets")}


def test_every_operator_has_engines_of_its_own(compose: dict[str, Any]) -> None:
    """Two networks and the sync have a PostgreSQL and a RabbitMQ each, notify has its PostgreSQL."""
    images = {name: told["image"] for name, told in lasting(compose).items()}
    owners = {
        kind: [n for n, image in images.items() if kind in image] for kind in ("postgres:", "rabbitmq:")
    }
    assert owners["postgres:"] == ["bretagne-postgres", "loire-postgres", "sync-postgres", "notify-postgres"]
    assert owners["rabbitmq:"] == ["bretagne-rabbitmq", "loire-rabbitmq", "sync-rabbitmq"]
    volumes = [v for told in lasting(compose).values() for v in told["volumes"] if not v.endswith(":ro")]
    assert len(volumes) == len(set(volumes))


def test_nobody_reaches_another_operators_database(compose: dict[str, Any]) -> None:
    """A database is on its operator's own network only, and no engine has a port on the machine."""
    for name, told in lasting(compose).items():
        if name.endswith("-postgres"):
            assert told["networks"] == [name.removesuffix("-postgres")]
        if name.endswith(("-postgres", "-rabbitmq")):
            assert "ports" not in told


def test_every_container_that_stays_is_watched(compose: dict[str, Any]) -> None:
    """Each has a health check, and an image that a variable can replace."""
    for told in compose["services"].values():
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-\S+\}", told["image"])
    assert all("healthcheck" in told for told in lasting(compose).values())


def test_no_network_waits_for_a_broker(compose: dict[str, Any]) -> None:
    """Services wait for their own database and for nobody else."""
    for name in ("bretagne", "loire", "sync", "notify"):
        assert list(compose["services"][name]["depends_on"]) == [f"{name}-postgres"]


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    """Passwords come from files made at first start; no variable holds one."""
    settings = {
        key: value
        for told in compose["services"].values()
        for key, value in told.get("environment", {}).items()
        if re.search("PASSWORD|SECRET|TOKEN|DATABASE_URL|AMQP", key)
    }
    assert settings
    assert all(key.endswith("_FILE") and value.startswith("/secrets/") for key, value in settings.items())


def test_the_image_does_not_run_as_root() -> None:
    """The last user that the image names is not root."""
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert users[-1] not in ("root", "0")


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """A second start keeps the passwords of the first, and no two operators share one."""
    place = secret.Place("bretagne", "bretagne-postgres", "bretagne-rabbitmq")
    secret.make(tmp_path / "a", place)
    first = {file.name: file.read_text() for file in (tmp_path / "a").glob("*-url")}
    secret.make(tmp_path / "a", place)
    secret.make(tmp_path / "b", place)
    assert first == {file.name: file.read_text() for file in (tmp_path / "a").glob("*-url")}
    assert first["database-url"] != (tmp_path / "b" / "database-url").read_text()
    assert stat.S_IMODE((tmp_path / "a" / "database-url").stat().st_mode) == secret.MODE


async def test_a_broker_takes_the_accounts_made_for_it(rabbitmq: Broker, tmp_path: Path) -> None:
    """The definitions made at first start give the network's account and a reader's to a real broker."""
    rabbitmq.vhost()
    secret.make(tmp_path, secret.Place("compose", "nowhere", f"127.0.0.1:{rabbitmq.port}"))
    rabbitmq.control("import_definitions", str(tmp_path / "rabbitmq-definitions.json"))
    for name in ("amqp-url", "amqp-public-url"):
        url = (tmp_path / name).read_text().replace(":5672/", "/")
        async with await aio_pika.connect(url) as connection:
            assert not connection.is_closed


@dataclass
class Container:
    """A service started through the containers' entry point, on a port and a database of its own."""

    service: str
    url: str
    environment: dict[str, str]
    process: Process

    async def up(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        await self.process.ready(lambda: url_answers(f"{self.url}/readyz"), 300)

    async def healthy(self) -> None:
        """Raise Failed unless the container's health check is content."""
        await output([*DEPLOY, "healthy"], self.environment, self.process.log, ROOT)


def container(service: str, folder: Path, database_url: str, **more: str) -> Container:
    """A container's environment, its database's URL in a file, and its process, not started yet."""
    folder.mkdir()
    (folder / "database-url").write_text(database_url)
    url = f"http://127.0.0.1:{free_port()}"
    settings = {
        "DATABASE_URL_FILE": str(folder / "database-url"),
        "KEY_DIR": str(folder / "keys"),
        "PORT": url.rpartition(":")[2],
        "URL": url,
        "SLUG": "essai",
        "NAME": "Essai",
        "CONTACT": "contact@essai.example",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILLAGE_")}
    own = {f"MAILLAGE_{service.upper()}_{name}": value for name, value in settings.items()}
    environment = {**inherited, **own, **more}
    process = Process(service, [*DEPLOY, service], folder / "log", environment=environment, cwd=ROOT)
    return Container(service, url, environment, process)


async def test_a_container_keeps_its_identity(database_url: str, tmp_path: Path) -> None:
    """The entry point makes an identity, is healthy, and after a restart is the node that others pinned."""
    registry = container("registry", tmp_path / "registry", database_url, ROOT_KEY=str(tmp_path / "root.key"))
    pinned = []
    for _ in range(2):
        await registry.up()
        await registry.healthy()
        pinned.append(await asyncio.to_thread(trust.node_id, registry.url))
        await registry.process.stop()
    key_show = [sys.executable, "-m", "services.registry", "key", "show"]
    shown = await output(key_show, resolved(registry.environment), registry.process.log, ROOT)
    assert pinned == [shown, shown]
    with pytest.raises(Failed):
        await registry.healthy()


async def test_who_operates_a_container_can_type_commands(database_url: str, tmp_path: Path) -> None:
    """`python -m deploy run` is the service's own command line with the settings of the container."""
    registry = container("registry", tmp_path / "registry", database_url, ROOT_KEY=str(tmp_path / "root.key"))
    await registry.up()
    words = ["run", "registry", "token", "add", "--role", "editor", "--name", "Anne"]
    token = await output([*DEPLOY, *words], registry.environment, registry.process.log, ROOT)
    place = {"name": "L'Établi", "status": "open", "address": {"postcode": "35000"}}
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.request("POST", f"{registry.url}/places", json=place, headers=headers) as reply:
        assert reply.status == 201
    with pytest.raises(Failed):
        await output([*DEPLOY, "run", "demo"], registry.environment, registry.process.log, ROOT)
    await registry.process.stop()


def test_others_reach_a_broker_where_its_operator_says(tmp_path: Path) -> None:
    """The public address of a broker is that of its container only where nobody names another."""
    for public, where in (
        (None, "@hote:5672/x"),
        ("bzh.example", "@bzh.example:5672/x"),
        ("bzh.example:5673", "@bzh.example:5673/x"),
    ):
        secret.make(tmp_path, secret.Place("x", "base", "hote", public))
        assert (tmp_path / "amqp-public-url").read_text().endswith(where)
        assert (tmp_path / "amqp-url").read_text().endswith("@hote:5672/x")


async def test_a_sync_container_follows_whom_it_was_told(postgres: Postgres, tmp_path: Path) -> None:
    """The sync of the compose file pins the networks that it is given by address, and hears them."""
    urls = [await postgres.create_database() for _ in range(2)]
    registry = container("registry", tmp_path / "registry", urls[0], ROOT_KEY=str(tmp_path / "root.key"))
    await registry.up()
    sync = container(
        "sync",
        tmp_path / "sync",
        urls[1],
        FOLLOW=json.dumps({"chez-nous": registry.url}),
        MAILLAGE_SYNC_TRUST=str(tmp_path / "trust.toml"),
    )
    await sync.up()
    await sync.healthy()

    async def heard() -> bool:
        async with aiohttp.request("GET", f"{sync.url}/networks") as reply:
            networks = (await reply.json(content_type=None))["networks"]
        return [(told["alias"], told["state"]) for told in networks] == [("chez-nous", "live")]

    await wait_until(heard, 60, "the network in the sync")
    for each in (sync, registry):
        await each.process.stop()
    for url in urls:
        await postgres.drop_database(url)


def test_a_pinned_node_stays_pinned(tmp_path: Path) -> None:
    """A trust.toml that exists is the operator's: a restart asks nobody and changes nothing."""
    file = tmp_path / "trust.toml"
    file.write_text("mine")
    trust.write(file, {"gone": "http://127.0.0.1:1"})
    assert file.read_text() == "mine"
