"""Each service alone: without the code of the others, without a broker, without a neighbour that answers."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.process import free_port
from tests.nodes import eventually
from tests.processes import ROOT, Part

SERVICES = ("registry", "sync", "notify")
SOMEBODY = "n" * 26


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What asks."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def parts() -> AsyncIterator[list[Part]]:
    """Services that a test has started; each has to end by itself when it is asked to."""
    parts: list[Part] = []
    yield parts
    for part in parts:
        await part.stop()
    for part in parts:
        assert part.process.returncode == 0, part.process.tail()


def only(service: str, folder: Path) -> Path:
    """A tree that holds the code of one service and of what all share, and nothing else."""
    others = [name for name in SERVICES if name != service]
    for shared in ("schemas", "web"):
        shutil.copytree(ROOT / shared, folder / shared)
    unwanted = shutil.ignore_patterns(*others, "__pycache__")
    shutil.copytree(ROOT / "services", folder / "services", ignore=unwanted)
    for name in others:
        assert not (folder / "services" / name).exists()
    return folder


def nobody(scheme: str) -> str:
    """An address on which nobody listens."""
    return f"{scheme}127.0.0.1:{free_port()}"


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    """The JSON at a URL that must answer."""
    async with session.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_says_what_it_is_without_the_others(
    service: str, database_url: str, tmp_path: Path
) -> None:
    """Where the code of the two others is deleted, a service still explains itself."""
    part = Part(service, tmp_path / "part", root=only(service, tmp_path / "tree"), database_url=database_url)
    assert "serve" in await part.command("--help")


async def test_a_registry_works_alone(
    database_url: str, tmp_path: Path, session: aiohttp.ClientSession, parts: list[Part]
) -> None:
    """A region that has nothing but its registry, and a broker that never answers, writes and shows its places."""
    part = Part(
        "registry",
        tmp_path / "registry",
        root=only("registry", tmp_path / "tree"),
        database_url=database_url,
        key_dir=tmp_path / "keys",
        amqp_url=nobody("amqp://nobody:nothing@"),
    )
    node = await part.command("key", "init", "--root-key", str(tmp_path / "root.key"))
    token = await part.command("token", "add", "--role", "editor", "--name", "test")
    parts.append(await part.start())
    place = {"name": "L'Établi", "status": "open", "address": {"postcode": "35000"}}
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(part.url + "/places", json=place, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        id = (await answer.json())["id"]
    assert id.startswith(node + ":")
    assert (await get(session, f"{part.url}/places/{id}"))["place"]["name"] == "L'Établi"
    assert (await get(session, part.url + "/readyz"))["database"] == "ok"
    async with session.get(part.url + "/feed?after=0.0") as answer:
        assert len((await answer.text()).splitlines()) == 2
    async with session.get(part.url + "/docs") as answer:
        assert answer.status == 200
    async with session.post(part.url + "/places", headers={"Accept-Language": "fr"}) as answer:
        assert (answer.status, (await answer.json())["title"]) == (401, "Un jeton valable est nécessaire.")


async def test_a_sync_waits_for_networks_that_do_not_answer(
    database_url: str, tmp_path: Path, session: aiohttp.ClientSession, parts: list[Part]
) -> None:
    """A sync whose only network is away serves an empty view, says so, and has an identity of its own."""
    trust = tmp_path / "trust.toml"
    trust.write_text(f'[[node]]\nnode = "{SOMEBODY}"\nurl = "{nobody("http://")}"\nalias = "loin"\n')
    part = Part(
        "sync",
        tmp_path / "sync",
        root=only("sync", tmp_path / "tree"),
        database_url=database_url,
        key_dir=tmp_path / "keys",
        trust=trust,
    )
    parts.append(await part.start())
    assert (await get(session, part.url + "/collections/places/items"))["numberMatched"] == 0
    (network,) = (await get(session, part.url + "/networks"))["networks"]
    assert (network["alias"], network["places"]) == ("loin", 0)
    assert (await get(session, part.url + "/readyz"))["nodes"].startswith("0 of 1")
    assert (await get(session, part.url + "/digest"))["count"] == 0


async def test_a_notify_waits_for_a_sync_that_does_not_answer(
    database_url: str, tmp_path: Path, session: aiohttp.ClientSession, parts: list[Part]
) -> None:
    """A notify whose sync is away answers that there is nothing yet, and that the log is absent."""
    part = Part(
        "notify",
        tmp_path / "notify",
        root=only("notify", tmp_path / "tree"),
        database_url=database_url,
        follow=nobody("http://"),
    )
    parts.append(await part.start())
    assert (await get(session, part.url + "/readyz"))["log"] == "absent"
    page = await get(session, part.url + "/changes")
    assert (page["changes"], page["cursor"]) == ([], "0.0")


async def test_a_registry_needs_nobody_while_its_database_is_away(
    private_postgres: Any, tmp_path: Path, session: aiohttp.ClientSession, parts: list[Part]
) -> None:
    """A registry without its database says so and stays up; with the database back, it goes on."""
    url = await private_postgres.create_database()
    part = Part("registry", tmp_path / "registry", database_url=url, key_dir=tmp_path / "keys")
    await part.command("key", "init", "--root-key", str(tmp_path / "root.key"))
    parts.append(await part.start())
    private_postgres.kill()
    async with session.get(part.url + "/readyz") as answer:
        assert answer.status == 503
    async with session.get(part.url + "/livez") as answer:
        assert answer.status == 200
    await private_postgres.start()

    async def back() -> bool:
        async with session.get(part.url + "/readyz") as answer:
            return bool(answer.status == 200)

    await eventually(back)
