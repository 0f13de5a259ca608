"""The engines the tests and the demo start are real, private, and survive being killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import ChannelAccessRefused

from demo import debian, postgres, rabbitmq
from demo.postgres import Postgres
from demo.process import QUIETEST, Failed, Process, wait_until
from demo.rabbitmq import Vhost
from tests.engines import Broker, postgres_in


def test_browsers_open_every_port_that_is_given_out() -> None:
    """Of the ports that Chromium refuses, the highest lies below all that tests and demo take."""
    assert QUIETEST.start > 10_080


async def test_a_database_is_empty_and_its_own(postgres: Postgres, database_url: str) -> None:
    """A database of a test holds no table, and is gone once dropped."""
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    name = database_url.rsplit("/", 1)[-1]
    existed = await postgres.has_database(name)
    await postgres.drop_database(database_url)
    assert (tables, existed, await postgres.has_database(name)) == (0, True, False)


async def test_a_killed_postgres_keeps_what_it_accepted(private_postgres: Postgres) -> None:
    """What was committed is there after the server was killed and started again."""
    connection = await asyncpg.connect(await private_postgres.create_database("kept"))
    await connection.execute("CREATE TABLE word (text text)")
    await connection.execute("INSERT INTO word VALUES ('maillage')")
    private_postgres.kill()
    assert not await private_postgres.answers()
    connection.terminate()
    await private_postgres.start()
    connection = await asyncpg.connect(private_postgres.url("kept"))
    assert await connection.fetchval("SELECT text FROM word") == "maillage"
    await connection.close()


async def test_a_reader_reads_the_feed_and_nothing_else(vhost: Vhost) -> None:
    """The reader's account consumes the stream, but declares and reads nothing else."""
    async with await aio_pika.connect(vhost.url) as owner:
        channel = await owner.channel()
        await channel.declare_queue("maillage.feed", durable=True, arguments={"x-queue-type": "stream"})
        await channel.declare_queue("maillage.other", durable=True)
    async with await aio_pika.connect(vhost.reader_url) as reader:
        await (await reader.channel()).get_queue("maillage.feed")
        with pytest.raises(ChannelAccessRefused):
            await (await reader.channel()).declare_queue("mine")
        other = await (await reader.channel()).get_queue("maillage.other", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await other.get(fail=False)


async def test_virtual_hosts_never_run_out(private_rabbitmq: Broker) -> None:
    """When the prepared virtual hosts are used up, more are made in the running broker."""
    prepared = len(private_rabbitmq.vhosts)
    while len(private_rabbitmq.vhosts) == prepared:
        last = private_rabbitmq.vhost()
    assert len(private_rabbitmq.vhosts) == 2 * prepared
    async with await aio_pika.connect(last.url) as connection:
        assert not connection.is_closed


async def test_a_killed_broker_comes_back_with_its_accounts(private_rabbitmq: Broker) -> None:
    """A broker that was killed answers no more, and serves the same accounts once started again."""
    vhost = private_rabbitmq.vhost()
    private_rabbitmq.kill()
    assert not await private_rabbitmq.answers()
    await private_rabbitmq.start()
    async with await aio_pika.connect(vhost.url) as connection:
        assert not connection.is_closed


async def test_a_broker_killed_from_outside_can_be_started_again(private_rabbitmq: Broker) -> None:
    """Where only the broker dies, its port mapper is replaced as well: the next one would find its port taken."""
    for _ in range(2):
        assert private_rabbitmq.pid is not None
        os.kill(private_rabbitmq.pid, signal.SIGKILL)
        await private_rabbitmq.until_gone()
        mapper = private_rabbitmq._mapper
        assert mapper is not None
        before = mapper.pid
        assert before is not None
        await private_rabbitmq.start()
        assert not Path("/proc", str(before)).exists()


async def test_postgres_runs_below_a_closed_folder(tmp_path: Path) -> None:
    """A folder that only its owner may enter is no obstacle, root's included, which PostgreSQL refuses."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = postgres_in(closed / "postgres")
    await server.start()
    assert await server.answers()
    await server.stop()
    assert not await server.answers()


@pytest.mark.parametrize(
    ("setting", "look"),
    [(postgres.SETTING, postgres.find), (rabbitmq.SETTING, lambda: rabbitmq.find(Path("/nowhere")))],
)
def test_a_wrong_setting_is_said_in_one_line(
    setting: str, look: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that names a folder without the programs is named in the one line that says so."""
    monkeypatch.setenv(setting, "/nowhere")
    with pytest.raises(Failed) as said:
        look()
    assert setting in str(said.value)
    assert "\n" not in str(said.value)


def test_a_moved_clone_fetches_its_broker_again(tmp_path: Path) -> None:
    """Programs unpacked for another folder do not count: Erlang knows where it lies."""
    (tmp_path / "here" / "rabbitmq").mkdir(parents=True)
    (tmp_path / "here" / "rabbitmq" / debian.COMPLETE).write_text(str(tmp_path / "here"))
    assert debian.is_unpacked(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert not debian.is_unpacked(tmp_path / "there")


async def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A process started by one that is killed is killed with it, and never knows."""
    parent = Process("parent", [sys.executable, "-c", PARENT], tmp_path / "log", dict(os.environ), Path.cwd())
    parent.start()

    async def told() -> bool:
        return (tmp_path / "log").read_text().endswith("\n")

    await parent.ready(told, 300)
    child = Path("/proc", (tmp_path / "log").read_text().strip(), "cmdline")
    assert child.read_bytes()
    parent.kill()

    async def gone() -> bool:
        return not child.exists() or not child.read_bytes()

    await wait_until(gone, 60, "the end of the child")


PARENT = """
import pathlib, sys, time
from demo.process import Process
child = Process("child", ["sleep", "600"], pathlib.Path("/dev/null"), {"PATH": "/usr/bin:/bin"})
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""
