"""`python -m services.registry claim say | withdraw | list`: what this network says of how two records relate."""

import asyncio
from typing import get_args

import click
import msgspec

from schemas.claim import Claim
from schemas.event import WithdrawReason
from services import cli
from services.registry.claimant import claimant
from services.registry.decide import Row
from services.registry.keys import configured
from services.registry.settings import Settings


@click.group("claim")
def command() -> None:
    """Claims: how records of this network and others' relate."""


@command.command("say")
@click.argument("a")
@click.argument("verdict")
@click.argument("b")
@click.option("--statement", help="Why, in 280 characters at most; everybody can read it.")
def say(a: str, verdict: str, b: str, statement: str | None) -> None:
    """Say of own record A and of record B: `same`, `distinct`, `part-of` (A lies in B), `contests`.

    The latest word on a pair counts. Own records go by their UUID as well.
    """
    click.echo(asyncio.run(_said(configured(), (a, verdict, b), statement)))


async def _said(s: Settings, words: tuple[str, str, str], statement: str | None) -> str:
    async with claimant(s) as network:
        answer = await network.say(network.written(*words, statement))
        id = f"{network.node}:{answer.row.id}"
    return cli.phrase("Said: {claim}." if answer.changed else "Said already: {claim}.", {"claim": id})


@command.command("withdraw")
@click.argument("id")
@click.option(
    "--reason", type=click.Choice(get_args(WithdrawReason)), default="other", help="Everybody can read it."
)
def withdraw(id: str, reason: WithdrawReason) -> None:
    """Take a claim back, by its id."""
    click.echo(asyncio.run(_withdrawn(configured(), id, reason)))


async def _withdrawn(s: Settings, id: str, reason: WithdrawReason) -> str:
    async with claimant(s) as network:
        answer = await network.withdraw(id, reason)
        return cli.phrase("Taken back: {claim}.", {"claim": f"{network.node}:{answer.row.id}"})


@command.command("list")
@click.option("--record", help="Those that name this record.")
def listing(record: str | None) -> None:
    """List the claims in force: id, first record, verdict, second record, statement."""
    asyncio.run(_list(configured(), record))


async def _list(s: Settings, record: str | None) -> None:
    async with claimant(s) as network:
        async for row in network.listed(record):
            click.echo(f"{network.node}:{row.id}  {_line(row)}")


def _line(row: Row) -> str:
    claim = msgspec.json.decode(row.body, type=Claim)
    words = (claim.a, claim.verdict, claim.b, cli.printable(claim.statement or ""))
    return "  ".join(filter(None, words))
