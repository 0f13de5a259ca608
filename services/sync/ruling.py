"""`python -m services.sync policy show | diff | try`: the rules of the view, and what others would make of it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from services import cli
from services.sync import adopting, app, inputs, policy, trial
from services.sync.commands import configured
from services.sync.merge import Policy
from services.sync.records import Pair
from services.sync.settings import Settings
from services.sync.trial import EXAMPLES, Outcome, Trial

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("policy")
def group() -> None:
    """The rules by which the view is made."""


@group.command("show")
@click.option("--json", "machine", is_flag=True, help="The policy itself, to copy and change.")
def show(machine: bool) -> None:
    """Show the policy of this sync: who made it, when, from which pairs, and what each likeness is worth."""
    adopted = adopting.adopted(configured().policy)
    if machine:
        click.echo(msgspec.json.format(policy.document(adopted.policy), indent=1))
        return
    click.echo("\n".join(_shown(adopted.policy, adopted.id)))


def _shown(rules: Policy, id: str) -> Iterator[str]:
    yield f"{rules.name}  {rules.date}  {rules.author}"
    yield f"policy_id {id}"
    yield rules.pairs
    matching = rules.matching
    thresholds = {name: getattr(matching, name) for name in ("join", "propose", "apart", "margin")}
    yield "  ".join(f"{name} {value}" for name, value in thresholds.items())
    yield "order " + " > ".join(rules.order)
    for feature, levels in matching.weights.items():
        ranked = sorted(levels.items(), key=lambda level: (-level[1], level[0]))
        yield f"{feature:<12}" + "  ".join(f"{level} {points:+d}" for level, points in ranked)


@group.command("diff")
@click.argument("file", type=FILE)
def diff(file: Path) -> None:
    """Show what another policy says otherwise. The exit code is 1 where they differ."""
    mine, other = adopting.adopted(configured().policy).policy, adopting.read(file)
    lines = list(differing("", msgspec.to_builtins(mine), msgspec.to_builtins(other)))
    click.echo("\n".join(lines) if lines else cli.phrase("The two policies are the same.", {}))
    raise SystemExit(1 if lines else 0)


def differing(where: str, mine: Any, other: Any) -> Iterator[str]:
    """The leaves in which two documents differ, as lines."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted(mine.keys() | other.keys()):
            yield from differing(f"{where}.{key}".lstrip("."), mine.get(key), other.get(key))
    elif isinstance(mine, (set, frozenset)) and isinstance(other, (set, frozenset)):
        yield from (f"{where}: - {word}" for word in sorted(mine - other))
        yield from (f"{where}: + {word}" for word in sorted(other - mine))
    elif mine != other:
        yield f"{where}: {mine} -> {other}"


@group.command("try")
@click.argument("file", type=FILE)
def attempt(file: Path) -> None:
    """Say what this sync would show under another policy: counts and examples. Nothing is changed or published."""
    s, other = configured(), adopting.read(file)
    with cli.progress("policy try") as tell:
        before, after = asyncio.run(_tried(s, other, tell))
    found = trial.trial(before, after, other)
    click.echo("\n".join(_told(found, before, after)))


async def _tried(s: Settings, other: Policy, tell: cli.Tell) -> tuple[Outcome, Outcome]:
    async with (
        app.database(s) as pool,
        pool.acquire() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        found = await inputs.inputs(conn)
    outcomes = []
    for done, rules in enumerate((adopting.adopted(s.policy).policy, other), start=1):
        outcomes.append(await asyncio.to_thread(trial.outcome, found.records, found.claims, rules))
        tell(done, 2)
    return outcomes[0], outcomes[1]


def _told(found: Trial, before: Outcome, after: Outcome) -> Iterator[str]:
    counts = {"before": found.places[0], "after": found.places[1]}
    yield cli.phrase("Places: {before} -> {after}", counts)
    yield cli.phrase("Pairs left open: {before} -> {after}", dict(zip(counts, found.open, strict=True)))
    yield cli.phrase("Records found under another id: {count}", {"count": len(found.moved)})
    yield cli.phrase("Joined: {count}", {"count": len(found.joined)})
    yield from _examples(found.joined, before)
    yield cli.phrase("Parted: {count}", {"count": len(found.parted)})
    yield from _examples(found.parted, after)
    for name, count in found.values.items():
        yield cli.phrase("Places with another {field}: {count}", {"field": name, "count": count})


def _examples(pairs: Sequence[Pair], where: Outcome) -> Iterator[str]:
    """Pairs by the names of the two places that they are elsewhere."""
    homes = {record: view for view in where.views.values() for record in view.aliases}
    for pair in pairs[:EXAMPLES]:
        yield "  " + " | ".join(f"{homes[id].fields['name'].value} ({id})" for id in pair)
