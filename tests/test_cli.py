"""The command line that services share."""

import logging

import click
import pytest
import structlog
from click.testing import CliRunner

from services import cli
from services.errors import Fault, Invalid, NotFound


async def serve() -> None:
    """Serve nothing."""


@pytest.fixture
def commands(own_logs: None) -> cli.Commands:
    """The commands of a service, with one that fails as it is told, and one that logs what it does."""
    group = cli.commands("test", "A service that promises nothing.", serve)

    @group.command("fail")
    @click.argument("how")
    def fail(how: str) -> None:
        """Fail."""
        raise {
            "failure": NotFound("There is no {thing}.", {"thing": "place"}),
            "title": NotFound(),
            "faults": Invalid(
                "Wrong.", faults=(Fault("/name", "Too short: {least} at least.", {"least": 3}),)
            ),
            "group": ExceptionGroup("workers", [NotFound("Inside.")]),
            "weather": ConnectionRefusedError("nobody listens"),
            "bug": KeyError("bug"),
            "bugs": ExceptionGroup("workers", [KeyError("bug")]),
        }[how]

    @group.command("work")
    def work() -> None:
        """Work."""
        structlog.get_logger().info("begun")
        structlog.get_logger().warning("slow", url="http://me:s3cr3t@host/")
        logging.getLogger("aio_pika.connection").warning("gone")
        click.echo("Done.")

    return group


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("failure", "There is no place.\n"),
        ("title", "There is nothing here.\n"),
        ("faults", "Wrong.\n  /name: Too short: 3 at least.\n"),
        ("group", "Inside.\n"),
        ("weather", "ConnectionRefusedError: nobody listens\n"),
    ],
)
def test_a_failure_is_told_in_lines(commands: cli.Commands, how: str, said: str) -> None:
    """An operator reads what is wrong, not a traceback, and the exit code is 2."""
    result = CliRunner().invoke(commands, ["fail", how])
    assert (result.exit_code, result.stderr, result.stdout) == (2, said, "")


@pytest.mark.parametrize(("how", "kind"), [("bug", KeyError), ("bugs", ExceptionGroup)])
def test_a_bug_is_not_hidden(commands: cli.Commands, how: str, kind: type[Exception]) -> None:
    """What is nobody's mistake but ours keeps its traceback."""
    assert isinstance(CliRunner().invoke(commands, ["fail", how]).exception, kind)


def test_commands_say_what_they_are(commands: cli.Commands) -> None:
    """Help and version answer without a database."""
    for arguments, said in ((["--help"], "promises nothing"), (["--version"], "maillage test")):
        result = CliRunner().invoke(commands, arguments)
        assert result.exit_code == 0
        assert said in result.stdout


def test_what_is_logged_is_not_mixed_with_what_is_printed(commands: cli.Commands) -> None:
    """A command prints what it is asked for; what goes wrong meanwhile is told beside it, without secrets."""
    result = CliRunner().invoke(commands, ["work"])
    assert result.stdout == "Done.\n"
    assert [word in result.stderr for word in ("slow", "gone", "begun", "s3cr3t")] == [
        True,
        True,
        False,
        False,
    ]
