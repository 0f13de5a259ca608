"""What a benchmark says: our rate beside a rival's, measured in turn."""

import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

ROUNDS = 5
Measure = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Figure:
    """One line of the results. `ratio` is ours over theirs; `goal` is what performance asks of it."""

    path: str
    ours: float
    theirs: float
    unit: str
    rival: str
    goal: str

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs if self.theirs else float("nan")


async def interleaved(ours: Measure, theirs: Measure, rounds: int = ROUNDS) -> tuple[float, float]:
    """Medians of two measures taken in turn."""
    pairs = [(await ours(), await theirs()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    """What this was measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| path | ours | rival | ratio | goal |",
        "|---|---|---|---|---|",
        *(
            f"| {f.path} | {_number(f.ours)} {f.unit} | {f.rival}: {_number(f.theirs)} {f.unit} | "
            f"{f.ratio:.2f} | {f.goal} |"
            for f in figures
        ),
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
