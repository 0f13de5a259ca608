"""`python -m services.sync verify`: what evidence proves, worked out on this machine and with nothing but the file."""

from pathlib import Path

import click
import msgspec

from schemas.evidence import AllEvidence, Evidence
from services import cli, evidence, foreign
from services.errors import Misconfigured, Untrue


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
def verify(file: Path) -> None:
    """Say what a file saved from `/evidence` of any sync proves. Needs neither settings, database nor network.

    The exit code is 0 where all of it proves, 1 where some of it does not.
    """
    shown = read(file)
    if not shown:
        click.echo(cli.phrase("The file holds no evidence.", {}))
    verdicts = [_verdict(one) for one in shown]
    for _, line in verdicts:
        click.echo(line)
    raise SystemExit(0 if verdicts and all(proven for proven, _ in verdicts) else 1)


def read(file: Path) -> tuple[Evidence, ...]:
    """The evidence in a file: all that a sync served, or one piece."""
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise Misconfigured("There is no file at {path}.", {"path": str(file)}) from error
    try:
        whole = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        if "evidence" in whole:
            return foreign.decoded(content, AllEvidence).evidence
        return (foreign.decoded(content, Evidence),)
    except (msgspec.DecodeError, Untrue) as error:
        raise Misconfigured(
            "{path} holds no evidence as /evidence serves it.", {"path": str(file)}
        ) from error


def _verdict(shown: Evidence) -> tuple[bool, str]:
    try:
        found = evidence.contradiction(shown)
    except Untrue as untrue:
        why = cli.phrase(untrue.detail, untrue.arguments)
        return False, cli.phrase("Not proven against node {node}: {why}", {"node": shown.node, "why": why})
    what = cli.phrase(found.what, found.args)
    return True, cli.phrase("Proven against node {node}: {what}", {"node": shown.node, "what": what})
