"""Worker loops: they wait out the weather and stop at bugs."""

import asyncio

import pytest
import structlog

from services import run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weather passes a hundred times faster here."""
    monkeypatch.setattr(run, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(run, "LONGEST_PAUSE", 0.1)


@pytest.mark.usefixtures("quick")
async def test_an_outage_is_told_once_and_passes() -> None:
    """A loop that fails five times by weather goes on; the log has one line for it and one for its end."""
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs <= 5:
            raise ConnectionRefusedError("away")
        run.calm()

    with structlog.testing.capture_logs() as lines:
        await run.keep("relay", loop, (ConnectionError,))
    assert [line["event"] for line in lines] == ["weather", "weather over"]
    assert lines[1]["failures"] == 5


@pytest.mark.usefixtures("quick")
async def test_weather_inside_a_group_is_weather() -> None:
    """A loop of several tasks that all fail by weather is retried."""
    runs = 0

    async def away() -> None:
        raise ConnectionResetError

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(away())
                tasks.create_task(away())

    await run.keep("follow", loop, (ConnectionError,))
    assert runs == 2


async def test_a_bug_leaves_the_loop() -> None:
    """What is not weather is not retried."""

    async def loop() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await run.keep("relay", loop, (ConnectionError,))


async def test_a_bug_beside_weather_is_a_bug() -> None:
    """A group in which one task failed by a bug and one by weather is a bug."""

    async def loop() -> None:
        raise ExceptionGroup("both", [ConnectionError(), KeyError()])

    with pytest.raises(ExceptionGroup):
        await run.keep("relay", loop, (ConnectionError,))


def test_pauses_grow_to_ten_seconds_and_start_anew() -> None:
    """Pauses double from 0.2 s with jitter, end at 10 s, and are short again after the outage."""
    outage = run.Outage("relay")
    pauses = [outage.pause(ConnectionError()) for _ in range(40)]
    assert 0.1 <= pauses[0] <= 0.2
    assert all(5 <= pause <= 10 for pause in pauses[7:])
    assert len(set(pauses[7:])) > 20
    outage.over()
    assert outage.pause(ConnectionError()) <= 0.2


async def test_a_minute_of_health_ends_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that works long enough is well, even if it does not say so."""
    monkeypatch.setattr(run, "HEALTHY_AFTER", 0.05)
    outage = run.Outage("relay")
    outage.pause(ConnectionError())

    async def loop() -> None:
        async with asyncio.timeout(30):
            while outage.failures:
                await asyncio.sleep(0.01)

    await outage.watched(loop)
    assert outage.failures == 0


async def test_what_runs_apart_ends_alone() -> None:
    """One task of a group ends when it is told to, even if a library forgets its cancellation; the others go on."""
    rounds = forgotten = 0
    other = asyncio.Event()

    async def forgetful() -> None:
        nonlocal rounds, forgotten
        while True:
            run.still_wanted()
            rounds += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                forgotten += 1

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        end = run.apart(tasks, forgetful(), "forgetful")
        end_other = run.apart(tasks, other.wait(), "other")  # type: ignore[arg-type] # what it gives is not used
        while not rounds:
            await asyncio.sleep(0)
        await end()
        assert (rounds, forgotten) == (1, 1)
        other.set()
        await end_other()
