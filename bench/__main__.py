"""`python -m bench`: measure, print, and write the figures down."""

import asyncio
from pathlib import Path

import click

from bench import catch_up, exports, imports, latency, writes
from bench.figures import ROUNDS, machine, table

PATHS = {
    "writes": writes.measure,
    "imports": imports.measure,
    "catch_up": catch_up.measure,
    "latency": latency.measure,
    "exports": exports.measure,
}
RESULTS = Path(__file__).parent / "results"


@click.command()
@click.argument("paths", nargs=-1, type=click.Choice(list(PATHS)))
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(1))
def main(paths: tuple[str, ...], rounds: int) -> None:
    """Measure these paths, or all of them; write each table to bench/results/."""
    RESULTS.mkdir(exist_ok=True)
    for name in paths or PATHS:
        found = table(asyncio.run(PATHS[name](rounds)))
        click.echo(f"\n{name}: {machine()}, {rounds} rounds\n{found}")
        text = f"# {name}\n\n{machine()}; median of {rounds} rounds, both sides in turn.\n\n{found}\n"
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
