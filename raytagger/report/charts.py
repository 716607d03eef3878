"""Small charts as inline SVG that follow the page's colours, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 44
MARKS = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Series:
    """One line or cloud of a chart.

    Attributes:
        name: in the legend.
        points: (x, y) pairs.
        line: whether they are joined.
        tips: what a point says when pointed at; one a point, or none.
        marked: index of a point that is drawn larger, or -1.
        sizes: the radius of each point's mark; one a point, or none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    tips: Sequence[str] = ()
    marked: int = -1
    sizes: Sequence[float] = ()


def chart(series: Sequence[Series], x_title: str, y_title: str, caption: str, diagonal: float = 0.0) -> str:
    """A figure with axes, a legend where there is more than one series, and a caption; "" without points.

    With a `diagonal` both axes reach from 0 to at least there, and a dashed line shows where x = y.
    """
    drawn = [one for one in series if one.points]
    if not drawn:
        return ""
    ends = (0.0, diagonal) if diagonal else ()
    x_axis = _Axis.over([*ends, *(x for one in drawn for x, _ in one.points)], LEFT, WIDTH - RIGHT)
    y_axis = _Axis.over([*ends, *(y for one in drawn for _, y in one.points)], HEIGHT - BOTTOM, TOP)
    parts = [_grid(x_axis, y_axis, x_title, y_title)]
    if diagonal:
        (x1, x2), (y1, y2) = map(x_axis.place, ends), map(y_axis.place, ends)
        parts.append(f'<line class="ideal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    parts += [_draw(number, one, x_axis, y_axis) for number, one in enumerate(drawn)]
    legend = _legend(drawn) if len(drawn) > 1 else ""
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(caption)}">{"".join(parts)}</svg>'
        f"{legend}<figcaption>{escape(caption)}</figcaption></figure>"
    )


@dataclass(frozen=True)
class _Axis:
    """From values to places: [low, high] onto [start, stop] of the drawing."""

    low: float
    high: float
    start: float
    stop: float
    ticks: tuple[float, ...]

    @staticmethod
    def over(values: Sequence[float], start: float, stop: float) -> _Axis:
        low, high = min(values), max(values)
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        step = _nice((high - low) / 5)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(number * step for number in range(first, last + 1))
        return _Axis(ticks[0], ticks[-1], start, stop, ticks)

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _grid(x_axis: _Axis, y_axis: _Axis, x_title: str, y_title: str) -> str:
    low, high = HEIGHT - BOTTOM, TOP
    lines = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{high}"/>')
        lines.append(f'<text x="{x:.1f}" y="{low + 16}" text-anchor="middle">{_tick(tick)}</text>')
    middle = (low + high) / 2
    lines.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>'
    )
    turned = f'transform="rotate(-90 13 {middle})"'
    lines.append(f'<text x="13" y="{middle}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return "".join(lines)


def _draw(number: int, one: Series, x_axis: _Axis, y_axis: _Axis) -> str:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in one.points]
    drawn = []
    if one.line:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="line c{number}" points="{path}"/>')
    for index, (x, y) in enumerate(places):
        tip = f"<title>{escape(one.tips[index])}</title>" if one.tips else ""
        size = one.sizes[index] if one.sizes else 6.0 if index == one.marked else 3.2 if one.line else 2.6
        drawn.append(f'<g class="mark c{number}">{_mark(number, x, y, size)}{tip}</g>')
    return "".join(drawn)


def _mark(number: int, x: float, y: float, size: float) -> str:
    """A series has a shape of its own, so that colour is not needed to tell it."""
    kind = MARKS[number % len(MARKS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
    if kind == "square":
        return f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}"/>'
    reach = size * 1.4
    corners = [(0, -reach), (reach, 0), (0, reach), (-reach, 0)]
    if kind == "triangle":
        corners = [(0, -reach), (reach, reach * 0.8), (-reach, reach * 0.8)]
    points = " ".join(f"{x + right:.1f},{y + down:.1f}" for right, down in corners)
    return f'<polygon points="{points}"/>'


def _legend(series: Sequence[Series]) -> str:
    items = [
        f'<li><svg viewBox="0 0 14 14" aria-hidden="true"><g class="mark c{number}">{_mark(number, 7, 7, 4)}</g></svg>'
        f"{escape(one.name)}</li>"
        for number, one in enumerate(series)
    ]
    return f'<ul class="legend">{"".join(items)}</ul>'


def cloud(name: str, point_LX: np.ndarray, tips: Sequence[str]) -> Series:
    """Points that are not joined, (L, 2)."""
    return Series(name, [(float(x), float(y)) for x, y in point_LX], line=False, tips=tips)
