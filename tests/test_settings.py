"""Settings: what an operator writes into the environment, and what she is told when it is wrong."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import pytest
import structlog
from msgspec import Meta, Struct

from services import logs, settings
from services.errors import Misconfigured


class Sample(Struct, frozen=True):
    """Settings of every kind."""

    url: Annotated[str, Meta(description="Where the database is.", pattern="^postgresql:")]
    port: Annotated[int, Meta(description="The port.", ge=0, le=65535)] = 8080
    pace: Annotated[float, Meta(gt=0)] = 1.5
    open: Annotated[bool, Meta(description="Whether strangers may come in.")] = False
    peers: tuple[str, ...] = ()
    weights: dict[str, int] = {}
    mode: Literal["on", "off"] = "on"
    contact: Annotated[str, Meta(min_length=3)] | None = None


URL = {"X_URL": "postgresql://u:s3cr3t@h/d"}


def load(**variables: str) -> Sample:
    return settings.load(Sample, "X_", {**URL, "PATH": "/bin", **variables})


def test_settings_come_from_the_environment() -> None:
    """Numbers, truths, lists and tables are read as an operator writes them."""
    found = load(
        X_PORT="80", X_PACE="2", X_OPEN="yes", X_PEERS='["a","b"]', X_WEIGHTS='{"a":1}', X_CONTACT="me@x"
    )
    assert found == Sample(URL["X_URL"], 80, 2.0, True, ("a", "b"), {"a": 1}, "on", "me@x")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("true", True), ("1", True), ("Yes", True), ("no", False), ("0", False), ("FALSE", False)],
)
def test_truth_has_six_words(text: str, meaning: bool) -> None:
    """An operator may say yes or no in the usual ways."""
    assert load(X_OPEN=text).open is meaning


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"X_PORT": "http"}, "X_PORT: A whole number is expected."),
        ({"X_PORT": "70000"}, "X_PORT: Too large: 65535 at most."),
        ({"X_OPEN": "maybe"}, "X_OPEN: true or false is expected."),
        ({"X_PEERS": "a,b"}, "X_PEERS must be written as JSON."),
        ({"X_PEERS": "[1]"}, "X_PEERS: Text is expected."),
        ({"X_MODE": "auto"}, "X_MODE: One of these is expected: on, off."),
        ({"X_CONTACT": "me"}, "X_CONTACT: Too short: 3 characters at least."),
        ({"X_PROT": "80"}, "X_PROT is no setting; did you mean X_PORT?"),
        ({"X_ZZZZZZZZZ": "1"}, "X_ZZZZZZZZZ is no setting."),
    ],
)
def test_a_wrong_setting_is_named(variables: dict[str, str], said: str) -> None:
    """An operator reads which variable is wrong and what it should hold."""
    with pytest.raises(Misconfigured) as refused:
        load(**variables)
    assert refused.value.detail.format(**refused.value.arguments) == said


def test_a_missing_setting_is_explained() -> None:
    """A required setting that is absent is named with its meaning."""
    with pytest.raises(Misconfigured) as refused:
        settings.load(Sample, "X_", {})
    said = refused.value.detail.format(**refused.value.arguments)
    assert said == "X_URL is required: Where the database is."


def test_a_wrong_secret_is_not_repeated() -> None:
    """A password that stands in a setting of the wrong form does not reach the terminal."""
    with pytest.raises(Misconfigured) as refused:
        load(X_URL="mysql://u:s3cr3t@h/d")
    assert "s3cr3t" not in refused.value.detail.format(**refused.value.arguments)


def test_every_setting_can_be_documented() -> None:
    """The documentation knows the variable, type, default and meaning of each setting."""
    rows = settings.documented(Sample, "X_")
    assert rows[0] == ("X_URL", "text", "", "Where the database is.")
    assert rows[1] == ("X_PORT", "whole number", "8080", "The port.")
    assert [row[2] for row in rows[5:]] == ["{}", "on", "none"]
    assert [row[1] for row in rows[3:]] == [
        "yes or no",
        "JSON list",
        "JSON object",
        "on or off",
        "text",
    ]


@pytest.fixture
def configured(own_logs: None) -> Callable[[str], None]:
    """Begin to log from a level upwards, as a service does, until the end of the test."""
    return partial(logs.configure, "registry", pretty=False)


def test_a_log_line_is_json_without_secrets(
    configured: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Passwords in addresses, bearer tokens and fields that are secret by name do not reach the log."""
    configured("info")
    structlog.get_logger().info(
        "opened",
        url="amqp://me:s3cr3t@host:5672/v",
        token="s3cr3t",
        error=RuntimeError("postgresql://me:s3cr3t@host/db refused"),
        header="Bearer s3cr3t",
        nested={"password": "s3cr3t", "urls": ["http://a:s3cr3t@b"]},
    )
    text = capsys.readouterr().err
    line = json.loads(text)
    assert "s3cr3t" not in text
    assert (line["event"], line["service"], line["level"]) == ("opened", "registry", "info")
    assert line["url"] == "amqp://me:***@host:5672/v"


def test_a_traceback_is_logged_without_secrets(
    configured: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback is told, but neither the values of its variables nor the passwords in its message."""
    configured("info")
    hidden = "".join(("v4", "lu", "3"))
    try:
        raise RuntimeError("http://a:s3cr3t@b" + hidden[:0])
    except RuntimeError as error:
        structlog.get_logger().error("failed", exc_info=error)
    text = capsys.readouterr().err
    assert "RuntimeError" in json.loads(text)["exception"]
    assert "s3cr3t" not in text
    assert "v4lu3" not in text


def test_libraries_log_like_we_do(
    configured: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a library says through the standard library is a line of the same form."""
    configured("info")
    logging.getLogger("aio_pika.connection").warning("Closing %s", "amqp://me:s3cr3t@host/")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "Closing amqp://me:***@host/"
    assert line["level"] == "warning"


def test_the_level_is_kept(configured: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """What is less than the level that was asked for is not written."""
    configured("warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("anything").info("quiet")
    assert capsys.readouterr().err == ""


PROGRAM = """
import asyncio, sys
from services import run, logs
from services.errors import Misconfigured
logs.configure("test", "info", pretty=False)
async def serve():
    async with asyncio.TaskGroup() as tasks:
        {body}
run.main(serve)
"""


def ended(body: str, *, signal: bool = False) -> tuple[int, str]:
    """The exit code and standard error of a process that serves like this."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if signal:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.terminate()
        _, error = process.communicate(timeout=120)
        return process.returncode, error


WAIT = """
        async def wait():
            print("ready", flush=True)
            try: await asyncio.Event().wait()
            finally: print("closed", file=sys.stderr)
        tasks.create_task(wait())"""


def test_a_process_that_is_told_to_end_ends_well() -> None:
    """SIGTERM closes what is open and the exit code is 0."""
    assert ended(WAIT, signal=True) == (0, "closed\n")


def test_a_bug_in_a_worker_ends_the_process() -> None:
    """A bug is logged with its traceback and the exit code is 1, so that somebody notices."""
    code, error = ended("tasks.create_task(asyncio.to_thread(int, 'x'))")
    assert code == 1
    assert "ValueError" in json.loads(error)["exception"]


def test_wrong_settings_are_one_line() -> None:
    """An operator reads one line, not a traceback, and the exit code is 2."""
    assert ended("raise Misconfigured('{who} is wrong', {'who': 'X_PORT'})") == (2, "X_PORT is wrong\n")
