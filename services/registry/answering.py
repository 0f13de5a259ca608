"""`python -m services.registry proposals`: what a sync proposes to this network, and what it answers."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence

import click
import msgspec

from schemas.view import Feature
from services import cli
from services.errors import Invalid
from services.languages import Language
from services.registry import app, wording
from services.registry.claimant import claimant
from services.registry.keys import configured
from services.registry.proposing import Offer, Side, offers
from services.registry.settings import Settings

# How many features of each kind are told: the strongest.
MOST_TOLD = 4
# What a key says, by language; None leaves the proposal for another day.
KEYS: dict[Language, dict[str, str | None]] = {
    "en": {"y": "same", "n": "distinct", "p": "part-of", "skip": None},
    "fr": {"o": "same", "n": "distinct", "p": "part-of", "passer": None},
}
VERDICTS = ("same", "distinct", "part-of")


@click.command("proposals")
@click.option("--sync", "url", metavar="URL", help="The sync that is asked for proposals.")
@click.option("--all", "every", is_flag=True, help="Also those that this network has answered.")
@click.option("--json", "machine", is_flag=True, help="For machines.")
@click.option("--ask", is_flag=True, help="One after another: answer each by a key.")
@click.option(
    "--answer",
    nargs=3,
    metavar="A B VERDICT",
    help="Answer for two records: `same`, `distinct`, or `part-of` (A, which is ours, lies in B).",
)
@click.option("--statement", help="Why, with --answer, in 280 characters at most; everybody can read it.")
def command(
    url: str | None,
    answer: tuple[str, str, str] | None,
    statement: str | None,
    *,
    every: bool,
    machine: bool,
    ask: bool,
) -> None:
    """Show what a sync proposes: records of others that may be places of this network; and answer.

    An answer is a claim of this network, which it can take back; the sync reads it in this registry's own log.
    """
    if answer is not None:
        click.echo(asyncio.run(_answered(configured(), answer, statement)))
        return
    if url is None or statement is not None:
        raise click.UsageError("Give --sync URL, or --answer A B VERDICT.")
    s = configured()
    found = asyncio.run(_found(s, url))
    listed = [offer for offer in found if every or offer.answer is None]
    if machine:
        click.echo(msgspec.json.encode({"proposals": listed}).decode())
    elif ask:
        _ask(s, listed)
    else:
        _show(listed, len(found) - len(listed))


async def _found(s: Settings, url: str) -> list[Offer]:
    async with app.database(s) as pool:
        return await offers(pool, await app.identity(pool), url)


async def _answered(s: Settings, words: tuple[str, str, str], statement: str | None) -> str:
    a, b, verdict = words
    if verdict not in VERDICTS:
        raise Invalid("An answer is one of {verdicts}.", {"verdicts": ", ".join(VERDICTS)})
    async with claimant(s) as network:
        # Which of two comes first matters only where one lies in the other.
        if verdict != "part-of" and ":" in a and not a.startswith(network.node + ":"):
            a, b = b, a
        said = await network.say(network.written(a, verdict, b, statement))
        return cli.phrase("Said: {claim}.", {"claim": f"{network.node}:{said.row.id}"})


def _show(listed: Sequence[Offer], answered: int) -> None:
    for number, offer in enumerate(listed, 1):
        click.echo("\n".join(_lines(offer, number)) + "\n")
    counts = {"count": len(listed), "answered": answered}
    click.echo(cli.phrase("Proposals: {count}. {answered} more are answered.", counts))


def _ask(s: Settings, listed: Sequence[Offer]) -> None:
    """Show each proposal and say what is answered; who stops in between has said what she has said."""
    for number, offer in enumerate(listed, 1):
        click.echo("\n".join(_lines(offer, number)))
        verdict = _key()
        if verdict is not None:
            words = (offer.mine.record, offer.theirs.record, verdict)
            click.echo(asyncio.run(_answered(s, words, None)))
        click.echo()
    click.echo(cli.phrase("That was all: {count}.", {"count": len(listed)}))


def _key() -> str | None:
    """The verdict of the key that is pressed, asked for again where it is none."""
    keys = KEYS[cli.spoken(os.environ)]
    question = cli.phrase("One and the same place? y yes, n no, p ours lies in it, skip", {})
    while True:
        pressed = click.prompt(question, prompt_suffix=" > ").strip().lower()
        if pressed in keys:
            return keys[pressed]


def _lines(offer: Offer, number: int) -> Iterator[str]:
    """A proposal for people."""
    proposal, language = offer.proposal, cli.spoken(os.environ)
    network = cli.printable(offer.network)
    yield f"{number}. {_side(offer.mine)}"
    yield f"   {offer.mine.record}"
    yield f"   {_side(offer.theirs)} ({network})"
    yield f"   {offer.theirs.record}"
    why = cli.printable(wording.reason(proposal.why, language))
    points = [] if proposal.points is None else [cli.phrase("{count} points", {"count": proposal.points})]
    yield f"   {', '.join([*points, why])}"
    telling = [feature for feature in proposal.features if feature.level != "missing"]
    if more := _features(f for f in telling if f.points > 0):
        yield "   " + cli.phrase("For it: {features}", {"features": more})
    if less := _features(f for f in telling if f.points < 0):
        yield "   " + cli.phrase("Against it: {features}", {"features": less})
    for said in (word.verdict for word in proposal.said if word.network == offer.theirs.owner):
        verdict = cli.printable(wording.verdict(said, language))
        yield "   " + cli.phrase("{network} says: {verdict}", {"network": network, "verdict": verdict})
    if offer.answer is not None:
        yield "   " + cli.phrase("We say: {verdict}", {"verdict": wording.verdict(offer.answer, language)})


def _side(side: Side) -> str:
    return cli.printable(", ".join(filter(None, (side.name, side.city))))


def _features(features: Iterable[Feature]) -> str:
    """The strongest of some features in words, each with its points."""
    strongest = sorted(features, key=lambda f: (-abs(f.points), f.feature))[:MOST_TOLD]
    language = cli.spoken(os.environ)
    return ", ".join(
        f"{cli.printable(wording.compared(f.feature, f.level, language))} ({f.points:+d})" for f in strongest
    )
