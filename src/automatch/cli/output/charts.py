"""Histogram of the distances of strangers: for a terminal, and as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from automatch.search import SimilarityScale

_ROWS = 20
_MAX_BAR_CHARS = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 60, 50, 50
_SVG_BARS = 60


def histogram_lines(distances: npt.NDArray[np.float64], scale: SimilarityScale) -> list[str]:
    """Return the histogram as lines of text, the nearest pairs on top."""
    counts, edges = np.histogram(distances, bins=_ROWS)
    lines = ["distance u   similarity      pairs"]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        similarity = scale.similarity(1 - ((low + high) / 2) ** 2 / 2)
        bar = _bar(count / max(int(counts.max()), 1))
        lines.append(f"{low:.3f}-{high:.3f}        {similarity:4.2f} {count:>10}  {bar}".rstrip())
    return lines


def _bar(part: float) -> str:
    whole, eighths = divmod(round(part * _MAX_BAR_CHARS * 8), 8)
    # Every bar is at least one eighth wide: the tail matters, and its bars are very short.
    return "█" * whole + _EIGHTHS[eighths].strip() or ("▏" if part > 0 else "")


def histogram_svg(
    distances: npt.NDArray[np.float64],
    scale: SimilarityScale,
    rates: Mapping[float, float],
    title: str,
) -> str:
    """Return an SVG document: pairs by distance as bars, and the similarity as a curve.

    A line marks each similarity of *rates*, with the share of the pairs that reaches it.
    """
    counts, edges = np.histogram(distances, bins=_SVG_BARS)
    near = min(float(edges[0]), scale.distance(max(rates))) - 2 * scale.width
    far, most = float(edges[-1]), max(int(counts.max()), 1)

    def x(distance: float) -> float:
        return _LEFT + (distance - near) / (far - near) * (_WIDTH - _LEFT - _RIGHT)

    def y(part: float) -> float:
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    bars = [
        f'<rect x="{x(low):.1f}" y="{y(count / most):.1f}" width="{x(high) - x(low) - 0.5:.1f}" '
        f'height="{y(0) - y(count / most):.1f}"/>'
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
        if count
    ]
    curve = " ".join(
        f"{x(u):.1f},{y(scale.similarity(1 - u**2 / 2)):.1f}" for u in np.linspace(near, far, 121)
    )
    marks = []
    for place, (similarity, rate) in enumerate(sorted(rates.items())):
        at, top = x(scale.distance(similarity)), _TOP + 14 * place
        marks.append(
            f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{y(0):.1f}" '
            f'stroke="#8a5a00" stroke-dasharray="3 3"/>'
            f'<text x="{at - 4:.1f}" y="{top + 4}" text-anchor="end">'
            f"{similarity:g}: {rate:.2%}</text>"
        )
    ticks = [
        f'<text x="{x(u):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{u:.1f}</text>'
        for u in np.arange(np.ceil(near * 10) / 10, far, 0.1)
    ] + [
        f'<text x="{_WIDTH - _RIGHT + 8}" y="{y(part) + 4:.1f}">{part:g}</text>'
        for part in (0, 0.5, 1)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#333">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="24" font-size="15">{escape(title)}</text>',
            '<g fill="#9db8d6">',
            *bars,
            "</g>",
            f'<polyline points="{curve}" fill="none" stroke="#b3261e" stroke-width="2"/>',
            *marks,
            f'<line x1="{_LEFT}" y1="{y(0):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(0):.1f}" '
            'stroke="#333"/>',
            *ticks,
            f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
            "distance of two faces (bars: pairs of strangers; curve: similarity)</text>",
            "</svg>",
            "",
        ]
    )
