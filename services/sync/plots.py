"""Numbers as bars: SVG by pygal, which reads in light and dark, on paper and on a telephone."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

Size = Literal["wide", "narrow"]
WIDTHS = {"wide": 760, "narrow": 360}
# Heights of one bar, and of what stands around all.
BAR, AROUND = 30, 70
COLUMNS_HIGH = {"wide": 320, "narrow": 260}
# How many years at least and at most, and every how many is named.
LEAST = 10
MOST = {"wide": 25, "narrow": 12}
EVERY = 5
ROOM = {"wide": 1.25, "narrow": 1.6}
FONT = "system-ui, sans-serif"
# Of what stands in a picture a page cannot say the colours; the reader's wish can.
COLOURS = """inline:
:root { color-scheme: light dark; --ink: #1c1b22; --line: #d9d4c8; --mark: #0b5d51; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #f1eff5; --line: #45424f; --mark: #7fd6c6; }
}
"""
# Beside the end of its bar, not on it.
BESIDE = ".pygal-chart .text-overlay text.value { text-anchor: start; transform: translateX(6px); }"


class Bar(Struct, frozen=True):
    """What a bar is of, how long it is, and what stands beside it."""

    label: str
    value: float
    said: str


class Plot(Struct, frozen=True):
    """Bars under a title that says what is counted and when; `years`: upright, in the order of time."""

    title: str
    bars: Sequence[Bar]
    years: bool = False
    most: float | None = None


def svg(plot: Plot, size: Size) -> bytes:
    """The plot as a picture. Bars begin at nought."""
    # Here, as a node whose observatory nobody opens does not need the memory.
    from pygal import Bar as Upright
    from pygal import HorizontalBar

    chart = (Upright if plot.years else HorizontalBar)(**_settings(plot, size))
    bars = plot.bars[-MOST[size] :] if plot.years else plot.bars[::-1]
    chart.title = plot.title
    chart.x_labels = [bar.label for bar in bars]
    said = {index: bar.said for index, bar in enumerate(bars)}
    values: list[dict[str, Any]] = [
        {"value": bar.value, "formatter": lambda _, index=index: said[index]}
        for index, bar in enumerate(bars)
    ]
    chart.add(None, values)
    return str(chart.render()).encode()


def _settings(plot: Plot, size: Size) -> dict[str, Any]:
    longest = plot.most or max([1, *(bar.value for bar in plot.bars)])
    every = EVERY if plot.years and len(plot.bars) > EVERY else 1
    return {
        "style": _style(12 if plot.years else 14),
        "width": WIDTHS[size],
        "height": COLUMNS_HIGH[size] if plot.years else AROUND + BAR * len(plot.bars),
        "css": ["file://style.css", "file://graph.css", COLOURS + ("" if plot.years else BESIDE)],
        "js": [],
        "show_legend": False,
        "no_data_text": "—",
        "print_values": True,
        "print_values_position": "top",
        "show_y_guides": False,
        "show_x_labels": plot.years,
        "x_labels_major_every": every,
        "show_minor_x_labels": every == 1,
        "show_y_labels": not plot.years,
        # Room for what stands beside the longest.
        "range": (0, longest * (1 if plot.years else ROOM[size])),
        "margin": 8,
        "disable_xml_declaration": True,
        "truncate_label": -1,
        "rounded_bars": 2,
    }


def _style(size: int) -> Any:
    from pygal.style import Style

    ink, line, mark = (f"var(--{name})" for name in ("ink", "line", "mark"))
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground=ink,
        foreground_strong=ink,
        foreground_subtle=line,
        opacity="1",
        colors=(mark,),
        value_colors=(ink,),
        font_family=FONT,
        title_font_size=15,
        label_font_size=size,
        major_label_font_size=size,
        value_font_size=size,
        transition="0s",
    )
