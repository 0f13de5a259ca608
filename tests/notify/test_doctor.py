"""The doctor of a notify: quiet while its log is heard, plain about what its subscribers lack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from demo.process import free_port
from services.notify import app, checks
from services.notify.__main__ import main
from services.notify.settings import Settings
from tests.conftest import Federation
from tests.doctors import at_home, settled, sql, visit
from tests.federation.impostor import Impostor
from tests.nodes import Service, eventually


async def notify(federation: Federation, **settings: Any) -> Service:
    """A notify at work."""
    chosen = Settings(database_url=await federation.database(), **settings)

    def make(port: int) -> Any:
        return app.serving(msgspec.structs.replace(chosen, port=port))

    service = Service(federation.client, make)
    service.settings = chosen
    federation.services.append(service)
    await at_home(service, free_port())
    return service


async def has_told(service: Service, count: int) -> None:
    """Wait until so many changes are there to tell."""

    async def there() -> bool:
        return bool(await sql(service, "SELECT count(*) FROM change") >= count)

    await eventually(there, 30)


@asynccontextmanager
async def following(federation: Federation, impostor: Impostor) -> AsyncIterator[Service]:
    """A notify of a node that says what we like, and has told its three events."""
    for _ in range(3):
        impostor.say()
    async with impostor.serving():
        service = await notify(federation, follow=impostor.url)
        await has_told(service, 3)
        yield service
        await service.stop()


async def state(service: Service, wanted: str) -> None:
    """Wait until the followed log is in this state."""

    async def there() -> bool:
        return bool(await sql(service, "SELECT state FROM follow_node") == wanted)

    await eventually(there, 60)


@pytest.mark.parametrize("words", [(), ("--deep",)])
async def test_a_healthy_notify_has_nothing_to_say(federation: Federation, words: tuple[str, ...]) -> None:
    """Each check says one line that all is well, and the exit code is 0."""
    registry = await federation.registry()
    await registry.add()
    service = await notify(federation, follow=registry.url)
    await has_told(service, 1)
    await state(service, "live")
    seen = await visit(main, settled(service), *words)
    assert seen.troubles == {}
    assert seen.code == 0
    assert [line.check for line in seen.report.findings] == ["settings", *(c.name for c in checks.CHECKS)]
    assert "to 1.1; 0 events are still to be read." in seen.told("changes")


async def test_a_log_that_does_not_prove_is_broken_here(federation: Federation) -> None:
    """A notify has no other log: where its log lies, nothing more is told, which is broken and not a worry."""
    impostor = Impostor("menteur")
    async with following(federation, impostor) as service:
        impostor.says("/feed", b'{"raw": "x"}\n')
        await state(service, "broken")
        seen = await visit(main, settled(service))
        assert seen.troubles == {"followed": "broken"}
        assert "sends what does not prove" in seen.told("followed")
        assert seen.code == 2


async def test_a_log_that_is_silent_needs_attention(federation: Federation) -> None:
    """What was told stays; the doctor says since when nothing was heard, and that nobody answers."""
    impostor = Impostor("silencieux", heartbeat_s=1)
    async with following(federation, impostor) as service:
        impostor.says("/feed", b"", 503)
        impostor.says("/descriptors", b"", 503)
        await state(service, "stale")
        seen = await visit(main, settled(service))
        assert seen.troubles == {"followed": "attention", "address": "attention"}
        assert "has said nothing since" in seen.told("followed")


async def test_another_node_than_the_one_that_is_wanted(federation: Federation) -> None:
    """A database that holds the changes of another node than the settings name is told before a start fails."""
    impostor = Impostor("l'un")
    async with following(federation, impostor) as service:
        seen = await visit(main, settled(service, follow_node="b" * 26))
        assert seen.troubles["followed"] == "broken"
        assert impostor.node in seen.told("followed")
        assert seen.troubles["address"] == "broken"


async def test_a_log_that_nobody_has_heard(federation: Federation) -> None:
    """Before the followed node has answered for the first time, nothing is known of it."""
    service = await notify(federation, follow=f"http://127.0.0.1:{free_port()}")
    seen = await visit(main, settled(service))
    assert seen.troubles == {"followed": "attention", "address": "attention"}
    assert "Nothing is known yet" in seen.told("followed")


async def test_a_log_without_anything_to_tell(federation: Federation) -> None:
    """Events of which none became a change are a sign of the wrong address."""
    impostor = Impostor("muet")
    async with following(federation, impostor) as service:
        await sql(service, "DELETE FROM change")
        seen = await visit(main, settled(service))
        assert seen.troubles == {"changes": "attention"}
        assert seen.told("changes").startswith("The log has 3 events, and not one became a change to tell.")
