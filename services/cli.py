"""The command line of a service: what its three `__main__` share."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from services import logs, run
from services.errors import Args, Failure, Fault
from services.languages import Language, say
from services.postgres import WEATHER
from services.release import release

LEVELS = ("debug", "info", "warning", "error")


class Commands(click.Group):
    """A group of commands whose failures are one clear line each, with exit code 2."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was asked for."""
        # Until `serve` says otherwise: what a command prints must not be mixed with what it logs.
        logs.configure(self.name or "maillage", "warning", pretty=True)
        try:
            return super().invoke(context)
        except (Failure, ExceptionGroup, *WEATHER) as error:  # type: ignore[misc]
            lines = explained(error)
            if lines is None:
                raise
        for line in lines:
            click.echo(line, err=True)
        return context.exit(2)


def explained(error: BaseException) -> list[str] | None:
    """What an operator can do something about, as lines; None for a bug."""
    match error:
        case ExceptionGroup():
            return next(filter(None, map(explained, error.exceptions)), None)
        case Failure():
            return said(error)
        case BrokenPipeError():
            return None
        case _ if isinstance(error, WEATHER):
            return [f"{type(error).__name__}: {error}"]
    return None


def spoken(environ: Mapping[str, str]) -> Language:
    """The language of whoever sits at the terminal."""
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "fr" if locale.lower().startswith("fr") else "en"


def phrase(what: str, args: Args) -> str:
    """A line for whoever sits at the terminal, in her language."""
    return say(what, args, spoken(os.environ))


def printable(text: str, most: int = 300) -> str:
    """Words of others for a terminal: nothing that it would take for an order, and not more than so many."""
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


def said(failure: Failure) -> list[str]:
    """A failure as lines for an operator: what is wrong, then each mistake with its place."""
    language = spoken(os.environ)
    title = (failure.__doc__ or "").partition("\n")[0]
    lines = [say(failure.detail or title, failure.arguments, language)]
    return lines + [f"  {located(fault, language)}" for fault in failure.faults]


def located(fault: Fault, language: Language) -> str:
    """A mistake behind its place, where it has one."""
    what = say(fault.what, fault.args, language)
    return f"{fault.where}: {what}" if fault.where else what


# Told how much is done, and of how much.
Tell = Callable[[int, int], None]


@contextmanager
def progress(name: str) -> Iterator[Tell]:
    """A bar on the terminal, where there is one."""
    with Progress(console=Console(stderr=True, quiet=not sys.stderr.isatty())) as shown:
        bar = shown.add_task(name, total=None)

        def tell(done: int, total: int) -> None:
            shown.update(bar, completed=done, total=total)

        yield tell


def commands(
    service: str,
    promise: str | None,
    serve: Callable[[], Coroutine[Any, Any, None]],
    *more: click.Command,
) -> Commands:
    """The commands of a service, beginning with `serve`; `promise` is the docstring of its package."""
    group = Commands(name=f"python -m services.{service}", help=promise, no_args_is_help=True)
    group = click.version_option(release(), prog_name=f"maillage {service}")(group)

    @group.command("serve")
    @click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
    def serving(log_level: str) -> None:
        """Run the service until it is told to stop."""
        logs.configure(service, log_level, pretty=sys.stderr.isatty())
        run.main(serve)

    for command in more:
        group.add_command(command)
    return group
