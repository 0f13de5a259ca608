"""The demo as a person runs it: it comes up, its parts stop and start without loss, and it leaves nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from demo import control
from demo.process import POLL_S, Failed, Process, output, wait_until
from tests.engines import reachable_folder

ROOT = Path(__file__).parent.parent.parent
UP_S = 300.0
# Less than a heartbeat of the demo.
SEEN_S = 50.0
# While its broker is coming back, a network may be read at the next heartbeat only.
LATE_S = 150.0
# Five seconds, on a machine that has nothing else to do.
ENDED_S = 20.0


@dataclass
class Running:
    """A demo in a folder of its own, and what `federation.json` says of it."""

    folder: Path
    process: Process
    session: aiohttp.ClientSession
    mark: str
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Where the demo says what it runs."""
        return self.folder / "federation.json"

    async def up(self) -> None:
        """Wait until everything answers."""
        await self.process.ready(self._published, UP_S)
        self.known = json.loads(self.file.read_text())

    async def _published(self) -> bool:
        return self.file.exists()

    def pids(self) -> dict[str, int | None]:
        """The process ids as the demo says them now."""
        return dict(json.loads(self.file.read_text())["pids"])

    async def tell(self, *words: str) -> str:
        """`python -m demo` with this demo's folder and some more words, such as `stop bretagne`."""
        return await typed("--dir", str(self.folder), *words)

    async def say(self, number: int = 0) -> str:
        """Open a place in a network by HTTP, and give its name."""
        network, name = self.known["networks"][number], f"Lieu {uuid4().hex}"
        place = {"name": name, "status": "open", "address": {"postcode": "35000", "city": "Rennes"}}
        headers = {"Authorization": f"Bearer {network['token']}"}
        async with self.session.post(f"{network['url']}/places", json=place, headers=headers) as reply:
            assert reply.status == 201, await reply.text()
        return name

    async def shown(self, sync: str, name: str) -> bool:
        """Whether a sync's view has a place of that name."""
        query = {"q": name, "limit": "1"}
        async with self.session.get(f"{sync}/collections/places/items", params=query) as reply:
            assert reply.status == 200, await reply.text()
            return bool((await reply.json(content_type=None))["numberMatched"])

    async def seen(self, name: str, syncs: Sequence[str] | None = None, within: float = SEEN_S) -> None:
        """Wait until syncs (all of them) show a place."""
        for url in syncs or [sync["url"] for sync in self.known["syncs"]]:
            await wait_until(lambda url=url: self.shown(url, name), within, f"{name} at {url}")  # type: ignore[misc]

    async def agreed(self) -> None:
        """Wait until all syncs have the same view root."""

        async def same() -> bool:
            return (
                len({(await self.get(sync["url"], "/digest"))["view_root"] for sync in self.known["syncs"]})
                == 1
            )

        await wait_until(same, SEEN_S, "one view root")

    async def by_broker(self) -> list[float]:
        """How many events RabbitMQ brought to each sync so far."""
        found = []
        for sync in self.known["syncs"]:
            async with self.session.get(sync["url"] + "/metrics") as reply:
                lines = (await reply.text()).splitlines()
            counted = [x for x in lines if x.startswith("maillage_follow_events_total") and 'via="amqp"' in x]
            found.append(sum(float(line.rpartition(" ")[2]) for line in counted))
        return found

    async def comes_by_broker(self, network: int, within: float = SEEN_S) -> None:
        """Open places in a network, each of which is soon in all views, until they come through RabbitMQ."""
        before = await self.by_broker()

        async def through_it() -> bool:
            await self.seen(await self.say(network), within=within)
            return all(now > then for now, then in zip(await self.by_broker(), before, strict=True))

        await wait_until(through_it, 2 * LATE_S, "changes through RabbitMQ")

    async def get(self, url: str, path: str) -> dict[str, Any]:
        """The JSON at a path."""
        async with self.session.get(url + path) as reply:
            assert reply.status == 200, await reply.text()
            return dict(await reply.json(content_type=None))

    def left(self) -> dict[int, str]:
        """Processes that belong to this demo, whoever started them, by pid."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(self.folder).encode() in text or self.mark.encode() in text:
                found[int(entry.name)] = text.replace(b"\0", b" ").decode(errors="replace")[:100]
        return found

    def has_socket(self) -> bool:
        """Whether the supervisor's socket exists."""
        return control.address(self.folder).replace("\0", "@") in Path("/proc/net/unix").read_text()

    async def gone(self) -> bool:
        """Whether no process of it is left."""
        return not self.left()


async def typed(*words: str) -> str:
    """What `python -m demo` prints with these words; raises Failed with it when it fails."""
    return await output([sys.executable, "-m", "demo", *words], os.environ, Path(os.devnull), ROOT)


@asynccontextmanager
async def demo(*options: str) -> AsyncIterator[Running]:
    """A demo with these options, up; killed at the end if it still runs."""
    async with starting(*options) as running:
        await running.up()
        yield running


@asynccontextmanager
async def starting(*options: str) -> AsyncIterator[Running]:
    """A demo that has just been started."""
    mark = f"demo-test-{uuid4().hex}"
    with reachable_folder() as outside:
        folder = outside / "demo"
        command = [sys.executable, "-m", "demo", "--dir", str(folder), *options]
        environment = {**os.environ, "DEMO_TEST_MARK": mark}
        environment.pop("MAKELEVEL", None)
        process = Process("demo", command, outside / "demo.log", environment=environment, cwd=ROOT)
        process.start()
        async with aiohttp.ClientSession() as session:
            running = Running(folder, process, session, mark)
            try:
                yield running
            finally:
                process.kill()
                await wait_until(running.gone, 60, "the end of every process")


async def test_a_person_runs_a_federation() -> None:
    """All come up, a change is in both views at once, and parts come and go without loss."""
    async with demo("--networks", "3", "--syncs", "2") as running:
        await everything_answers(running)
        await a_change_appears_in_both_views(running)
        await a_stopped_network_stops_nobody(running)
        await a_stopped_broker_loses_nothing(running)
        await a_stopped_sync_catches_up(running)
        await a_killed_part_stays_down_until_it_is_started(running)
        await ctrl_c_leaves_nothing(running)


async def everything_answers(running: Running) -> None:
    """The file is for its owner only, every address answers, and both views hold the same places."""
    assert stat.S_IMODE(running.file.stat().st_mode) == 0o600
    known = running.known
    assert [network["alias"] for network in known["networks"]] == ["bretagne", "pays-de-la-loire", "fablabs"]
    assert all(network["amqp"].startswith("amqp://") for network in known["networks"])
    parts = [*(network["alias"] for network in known["networks"]), "sync-1", "sync-2", "notify"]
    assert sorted(known["pids"]) == sorted([*parts, "postgres", "rabbitmq"])
    for pid in known["pids"].values():
        os.kill(pid, 0)
    for each in (*known["networks"], *known["syncs"], known["notify"]):
        async with running.session.get(f"{each['url']}/readyz") as reply:
            assert reply.status == 200
    assert {log.stem for log in (running.folder / "logs").iterdir()} >= {*parts, "postgres", "rabbitmq"}
    for sync in known["syncs"]:
        # Three lists of 75; 20 places are in two lists, and one name was invented twice in the same town.
        items = await running.get(sync["url"], "/collections/places/items?limit=1")
        assert items["numberMatched"] == 225 - 20 - 1
    await running.agreed()


async def a_change_appears_in_both_views(running: Running) -> None:
    """A place opened by HTTP in one network is in both views before a heartbeat, by way of the broker."""
    await running.comes_by_broker(0)


async def a_stopped_network_stops_nobody(running: Running) -> None:
    """While one network is stopped the others go on; once started, it does too."""
    await running.tell("stop", "bretagne")
    with pytest.raises(aiohttp.ClientError):
        await running.say(0)
    assert running.pids()["bretagne"] is None
    await running.seen(await running.say(1))
    await running.tell("start", "bretagne")
    await running.seen(await running.say(0))


async def a_stopped_broker_loses_nothing(running: Running) -> None:
    """Without the broker changes arrive over the feed; with it back, through it again."""
    await running.tell("stop", "rabbitmq")
    assert running.pids()["rabbitmq"] is None
    await running.seen(await running.say(0))
    await running.tell("start", "rabbitmq")
    await running.comes_by_broker(1, within=LATE_S)


async def a_stopped_sync_catches_up(running: Running) -> None:
    """What was said while a sync was stopped is in its view once it is back, and the views agree."""
    first, second = (sync["url"] for sync in running.known["syncs"])
    await running.tell("stop", "sync-2")
    said = [await running.say(number) for number in (0, 1, 2)]
    for name in said:
        await running.seen(name, [first])
    await running.tell("start", "sync-2")
    for name in said:
        await running.seen(name, [second])
    await running.agreed()


async def a_killed_part_stays_down_until_it_is_started(running: Running) -> None:
    """The supervisor restarts nothing by itself, and says that the part is down."""
    killed = running.pids()["fablabs"]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)

    async def told() -> bool:
        return running.pids()["fablabs"] is None

    await wait_until(told, 60, "word of the end of fablabs")
    with pytest.raises(Failed):
        await running.tell("start", "nobody")
    await running.tell("start", "fablabs")
    assert running.pids()["fablabs"] not in (None, killed)
    await running.seen(await running.say(2))


async def ctrl_c_leaves_nothing(running: Running) -> None:
    """Ctrl-C ends everything within seconds: no process, no socket, no file of addresses."""
    running.process.send(signal.SIGINT)

    async def ended() -> bool:
        return running.process.pid is None

    await wait_until(ended, ENDED_S, "the end of the demo")
    assert running.process.returncode == 0
    # Where the disk is busy, the data are still being erased.
    assert all(command.startswith("rm -rf ") for command in running.left().values())
    assert not running.has_socket()
    assert not running.file.exists()
    assert not (running.folder / "data").exists()
    await wait_until(running.gone, 30, "the end of erasing")
    assert sorted(entry.name for entry in running.folder.iterdir()) == [".maillage-demo", "logs"]


async def a_killed_supervisor_leaves_nothing(running: Running) -> None:
    """When the supervisor is killed, every process goes with it, RabbitMQ's port mapper included."""
    assert len(running.left()) > len(running.known["pids"])
    assert running.has_socket()
    assert "export POSTGRES_URL=postgresql://" in await running.tell("env")
    running.process.kill()
    await wait_until(running.gone, ENDED_S, "the end of every process")
    assert not running.has_socket()
    assert running.file.exists()
    with pytest.raises(Failed, match="Aucune fédération ne tourne"):
        await running.tell("env")


async def test_a_federation_lives_over_the_feed_alone_and_continues() -> None:
    """With no broker views show every change; kept data are there at the next start, at the same URLs."""
    async with demo("--networks", "1", "--syncs", "2", "--no-broker", "--keep") as running:
        assert [network["amqp"] for network in running.known["networks"]] == [None]
        assert "rabbitmq" not in running.known["pids"]
        name = await running.say()
        await running.seen(name)
        await running.agreed()
        with pytest.raises(Failed, match="tourne déjà"):
            await running.tell()
        await ended_by_signal(running)
        await what_is_kept_is_not_lost(running)
        running.process.command = [sys.executable, "-m", "demo", "--dir", str(running.folder), "--keep"]
        running.process.start()
        before = running.known
        await running.up()
        assert {**running.known, "pids": None} == {**before, "pids": None}
        await running.seen(name)


async def what_is_kept_is_not_lost(running: Running) -> None:
    """Neither a plain start nor one with other choices touches what was kept; both say what to do."""
    tokens = {file: file.read_text() for file in (running.folder / "data" / "tokens").iterdir()}
    for words in (
        (),
        ("--keep", "--networks", "3"),
        ("--keep", "--syncs", "1"),
        ("--keep", "--places", "demo/communes.tsv"),
    ):
        with pytest.raises(Failed, match=r"--keep .*continue, --fresh l'efface"):
            await running.tell(*words)
    assert {file: file.read_text() for file in tokens} == tokens


async def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    """What the demo did not make is neither deleted nor written beside, and a folder it cannot make is said."""
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    with pytest.raises(Failed, match="contient autre chose que la démo"):
        await typed("--dir", str(tmp_path))
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["data", "logs", "mine", "mine"]
    for folder, said in (("", "le dossier est vide"), ("/proc/nowhere", "dossier inutilisable")):
        with pytest.raises(Failed, match=said) as why:
            await typed("--dir", folder)
        assert "Traceback" not in str(why.value)


async def ended_by_signal(running: Running) -> None:
    """End a demo as `kill` does."""
    running.process.send(signal.SIGTERM)
    while running.process.pid is not None:
        await asyncio.sleep(POLL_S)
    assert running.left() == {}


async def test_two_federations_do_not_meet(tmp_path: Path) -> None:
    """Two demos started at the same moment, one of lists of one's own, run side by side on ports of their own."""
    of_ones_own(tmp_path)
    options = ("--syncs", "1", "--no-broker")
    async with (
        starting("--networks", "1", *options) as one,
        starting("--places", str(tmp_path), *options) as other,
    ):
        await asyncio.gather(one.up(), other.up())
        addresses = [
            each["url"] for run in (one, other) for each in run.known["networks"] + run.known["syncs"]
        ]
        assert len(set(addresses)) == 5
        await lists_of_ones_own_become_networks(other)
        name = await one.say()
        await one.seen(name)
        assert not await other.shown(other.known["syncs"][0]["url"], name)


def of_ones_own(folder: Path) -> None:
    """Two lists of different formats, and a file that is none."""
    (folder / "vallee.csv").write_text("nom;code postal;commune\nLe Pressoir;35600;Redon\n", "cp1252")
    place = {"name": "Le Silo", "status": "open", "address": {"postcode": "56000", "city": "Vannes"}}
    (folder / "Golfe du Morbihan.jsonl").write_text(json.dumps(place) + "\n")
    (folder / "README.md").write_text("Two lists.")


async def lists_of_ones_own_become_networks(running: Running) -> None:
    """A folder of lists gives one network for each, whatever their formats."""
    aliases = [network["alias"] for network in running.known["networks"]]
    assert aliases == ["golfe-du-morbihan", "vallee"]
    await running.seen("Le Silo")
    await running.seen("Le Pressoir")
