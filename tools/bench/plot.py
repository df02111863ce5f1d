"""Curves as a page of HTML that stands alone: drawings in SVG, no scripts, nothing to load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from tools.bench.comparison import Comparison
from tools.bench.curves import Curve, Point
from tools.bench.report import Run

_WIDTH: Final = 760
_HEIGHT: Final = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 610, 16, 390  # of the frame; the legend stands to its right
_LEAST_RECALL: Final = 0.80  # what lies below is not drawn
_RECALL_STEP: Final = 0.02
_STEPS: Final = (1, 2, 5)  # lines of speed in each decade

# Okabe and Ito's colours, which people with any kind of colour blindness tell apart; shapes for prints without colour.
_COLOURS: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_SHAPES: Final = (
    "M-4-4h8v8h-8z",
    "M0-5l5 9h-10z",
    "M0-5l5 5l-5 5l-5-5z",
    "M0 5l5-9h-10z",
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
)

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>vecdb: recall and speed</title>
<style>
body {{ background: white; color: black; font: 14px sans-serif; margin: 2em; max-width: 60em }}
svg {{ display: block; font: 12px sans-serif }}
pre {{ overflow-x: auto }}
</style>
<h1>Recall and speed</h1>
<p><code>{command}</code>, {date}</p>
{panels}
<h2>The machine</h2>
<pre>{machine}</pre>
</html>
"""


class Measured(Protocol):
    """What `str` gives of it is shown below the drawing."""

    @property
    def title(self) -> str: ...
    @property
    def speed(self) -> Comparison: ...


class Style(NamedTuple):
    colour: str
    shape: str
    width: float


def write_plot(path: Path, run: Run, results: Mapping[str, Measured]) -> None:
    """Draw queries per second over recall@k, a panel for each data set."""
    names = list(dict.fromkeys(name for result in results.values() for name in result.speed.curves))
    looks = zip(names, cycle(_COLOURS), cycle(_SHAPES), strict=False)
    styles = {name: Style(colour, shape, 3 if name == names[0] else 1.5) for name, colour, shape in looks}
    panels = [
        f"<h2>{escape(f'{name}: {result.title}')}</h2>\n{draw(result.speed.curves, styles)}\n"
        f"<details><summary>Figures</summary><pre>{escape(str(result))}</pre></details>"
        for name, result in results.items()
    ]
    machine = "\n".join(f"{label}: {value}" for label, value in run.machine.items())
    page = _PAGE.format(command=escape(run.command), date=run.date, panels="\n".join(panels), machine=escape(machine))
    path.write_text(page, encoding="utf-8")


def draw(curves: Mapping[str, Curve], styles: Mapping[str, Style]) -> str:
    """One panel: speed on a logarithmic scale."""
    shown = {name: [point for point in curve if point.recall >= _LEAST_RECALL] for name, curve in curves.items()}
    lines = _speed_lines([point.qps for curve in shown.values() for point in curve])
    panel = Panel(lines[0], lines[-1])
    parts = panel.axes(lines)
    for name, curve in reversed(shown.items()):  # the first comes to lie on top
        parts += panel.curve(name, curve, styles[name])
    for row, name in enumerate(shown):
        parts += panel.legend(row, name, styles[name])
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">\n{body}\n</svg>'


class Panel(NamedTuple):
    """The frame of a drawing, between a least and a most speed."""

    least: float
    most: float

    def place(self, recall: float, qps: float) -> tuple[float, float]:
        right = (recall - _LEAST_RECALL) / (1 - _LEAST_RECALL)
        up = math.log(qps / self.least) / math.log(self.most / self.least)
        return _LEFT + right * (_RIGHT - _LEFT), _BOTTOM - up * (_BOTTOM - _TOP)

    def axes(self, lines: Sequence[float]) -> list[str]:
        parts = []
        for qps in lines:
            _, y = self.place(1, qps)
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#ddd"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{qps:,.0f}</text>')
        for number in range(round((1 - _LEAST_RECALL) / _RECALL_STEP) + 1):
            recall = _LEAST_RECALL + number * _RECALL_STEP
            x, _ = self.place(recall, self.least)
            parts.append(f'<path d="M{x:.1f} {_TOP}V{_BOTTOM}" stroke="#ddd"/>')
            parts.append(f'<text x="{x:.1f}" y="{_BOTTOM + 18}" text-anchor="middle">{recall:.2f}</text>')
        middle, height = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
        parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">recall@10</text>')
        turned = f'transform="translate(14 {height}) rotate(-90)" text-anchor="middle"'
        return [*parts, f"<text {turned}>queries per second, one thread</text>"]

    def curve(self, name: str, curve: Curve, style: Style) -> list[str]:
        places = [self.place(point.recall, point.qps) for point in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts = [f'<polyline points="{line}" fill="none" stroke="{style.colour}" stroke-width="{style.width}"/>']
        for point, place in zip(curve, places, strict=True):
            parts.append(_mark(*place, style, _tip(name, point)))
        return parts

    def legend(self, row: int, name: str, style: Style) -> list[str]:
        x, y = _RIGHT + 24, _TOP + 12 + 22 * row
        line = f'<path d="M{x - 12} {y}h24" stroke="{style.colour}" stroke-width="{style.width}"/>'
        return [line, _mark(x, y, style, name), f'<text x="{x + 20}" y="{y + 4}">{escape(name)}</text>']


def _mark(x: float, y: float, style: Style, tip: str) -> str:
    place = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path d="{style.shape}" {place} fill="{style.colour}"><title>{escape(tip)}</title></path>'


def _tip(name: str, point: Point) -> str:
    return f"{name}, ef {point.ef}: recall {point.recall:.4f}, {point.qps:,.0f} queries/s"


def _speed_lines(speeds: Sequence[float]) -> list[float]:
    """Round numbers from below the least to above the most, two or more.

    >>> _speed_lines([1300.0, 4100.0]), _speed_lines([2000.0])
    ([1000, 2000, 5000], [2000, 5000])
    """
    least, most = min(speeds, default=1000.0), max(speeds, default=1000.0)
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 2)
    lines = [step * 10**decade for decade in decades for step in _STEPS]
    first = max(number for number, line in enumerate(lines) if line <= least)
    last = min(number for number, line in enumerate(lines) if line > most)
    return lines[first : last + 1]
