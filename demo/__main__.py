"""`python -m demo`: start a whole federation; `stop NAME`, `start NAME`: one of its parts; `env`: its addresses."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from demo import control
from demo.federation import prepared
from demo.keeping import Options
from demo.process import PR_SET_PDEATHSIG, Failed, adopt_orphans
from demo.telling import Telling


class FolderName(click.Path):
    """The path of a folder; an empty one would mean the current folder, which nobody says like that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error when it is empty."""
        if value == "":
            self.fail("le dossier est vide / the folder is empty", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = click.option(
    "--dir",
    "folder",
    type=FolderName(path_type=Path, file_okay=False),
    default=None,
    help="Folder of the demo's data and logs.  [default: .demo]",
)


@click.group(invoke_without_command=True)
@click.option("--networks", type=click.IntRange(1, 60), help="How many networks.  [default: 4]")
@click.option("--syncs", type=click.IntRange(1, 20), help="How many syncs.  [default: 2]")
@click.option(
    "--places",
    type=click.Path(exists=True, path_type=Path),
    help="A list of places, or a folder of lists, one network each.  [default: an invented sample]",
)
@click.option("--no-broker", is_flag=True, help="The HTTP feed alone, without RabbitMQ.")
@click.option(
    "--port-base", type=click.IntRange(1024, 65000), help="First port.  [default: free ones from 8400]"
)
@click.option("--keep", is_flag=True, help="Keep the data, and continue where the last run ended.")
@click.option("--fresh", is_flag=True, help="Erase what an earlier run kept, and begin anew.")
@FOLDER
@click.pass_context
def main(
    context: click.Context,
    networks: int | None,
    syncs: int | None,
    places: Path | None,
    no_broker: bool,
    port_base: int | None,
    keep: bool,
    fresh: bool,
    folder: Path | None,
) -> None:
    """Start a whole federation on this machine, until Ctrl-C."""
    context.obj = folder or Path(".demo")
    if context.invoked_subcommand is None:
        end_with_make()
        adopt_orphans()
        broker = False if no_broker else None
        options = Options(context.obj, networks, syncs, places, broker, port_base, keep, fresh)
        sys.exit(asyncio.run(run(options)))


@main.command()
@click.argument("name")
@FOLDER
@click.pass_obj
def stop(default: Path, name: str, folder: Path | None) -> None:
    """Stop one process: a network's alias, sync-1, notify, rabbitmq, postgres."""
    say(folder or default, "stop", name)


@main.command()
@click.argument("name")
@FOLDER
@click.pass_obj
def start(default: Path, name: str, folder: Path | None) -> None:
    """Start a stopped process again."""
    say(folder or default, "start", name)


@main.command()
@FOLDER
@click.pass_obj
def env(default: Path, folder: Path | None) -> None:
    """Print addresses and tokens as shell variables: eval "$(python -m demo env)"."""
    where = (folder or default) / "federation.json"
    # A supervisor that was killed leaves its file, and addresses where nobody is any more.
    if not asyncio.run(control.is_led(where.parent)) or not where.exists():
        raise click.ClickException(
            f"Aucune fédération ne tourne dans {where.parent} : lancez make demo. "
            f"/ No federation is running in {where.parent}: start it with make demo."
        )
    for name, value in variables(json.loads(where.read_text("utf-8"))).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def variables(federation: dict[str, Any]) -> dict[str, str]:
    """What a federation offers, by names such as BRETAGNE_URL, BRETAGNE_TOKEN, SYNC_1_URL, POSTGRES_URL."""
    found = {"NOTIFY_URL": federation["notify"]["url"], "POSTGRES_URL": federation["postgres"]["url"]}
    for number, sync in enumerate(federation["syncs"], start=1):
        found[f"SYNC_{number}_URL"] = sync["url"]
    for network in federation["networks"]:
        name = re.sub(r"[^A-Z0-9]", "_", network["alias"].upper())
        for what in ("url", "token", "node", "amqp"):
            if network[what]:
                found[f"{name}_{what.upper()}"] = network[what]
    return found


def say(folder: Path, action: str, name: str) -> None:
    """Pass a wish on to the supervisor of a folder and print its answer."""
    try:
        click.echo(asyncio.run(control.ask(folder, action, name)))
    except Failed as why:
        raise click.ClickException(str(why)) from why


async def run(options: Options) -> int:
    """Run a federation until a signal; the exit code is 0 when it ran, 1 when it could not start."""
    telling = Telling()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    life = asyncio.create_task(live(options, telling))
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({life, asked}, return_when=asyncio.FIRST_COMPLETED)
    # Only one cancellation, however often Ctrl-C is pressed: closing takes seconds and must not be cut short.
    life.cancel()
    asked.cancel()
    try:
        await life
    except asyncio.CancelledError:
        return 0
    except Failed as why:
        telling.failed(str(why))
    return 1


async def live(options: Options, telling: Telling) -> None:
    """Open, say where everything is, watch; in whatever way that ends, everything is closed."""
    with control.seat(options.folder) as seat:
        federation = prepared(options, telling)
        try:
            await federation.open()
            async with control.listening(seat, federation.answer):
                federation.publish()
                telling.ready(federation.described(), options.folder, options.keep)
                await federation.watch()
        finally:
            telling.closing(options.keep)
            await federation.close()


def end_with_make() -> None:
    """When make started us, end as on Ctrl-C when make is killed."""
    if "MAKELEVEL" in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
