"""The histograms of a label table as one page: inline SVG, no scripts, no network."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

#: A picture, and the area within it that the bars fill (px).
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BASE = 460, 200, 20, 440, 16, 160

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #16191d; --soft: #5a636e; --rule: #e3e7eb; --bar: #0b62b8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #101418; --ink: #e8ecef; --soft: #9aa6b2; --rule: #29313a; --bar: #6db3f8; }
}
body { margin: 0 auto; max-width: 1000px; padding: 32px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
p, figcaption { color: var(--soft); } figure { margin: 0; } figcaption { font-size: 14px; }
.all { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 24px; }
svg { display: block; width: 100%; } svg rect { fill: var(--bar); } svg line { stroke: var(--soft); }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
"""


def page(found: Mapping[str, Any]) -> str:
    """found: what `distill.labels.summary.show` returns.

    >>> found = {"labels": "mine", "rows": 2, "complete": False, "audio_hours": 0.5, "failed": 0, "teacher": "prosody"}
    >>> page({**found, "answers": {}, "spread": {}}).startswith("<!doctype html>")
    True
    """
    title = html.escape(f"{found['labels']}: {found['rows']:,} rows")
    state = "complete" if found["complete"] else "unfinished: what is there so far"
    lead = f"{state}; {found['audio_hours']:.2f} hours of audio, {found['failed']} segments failed; {found['teacher']}"
    parts = [_section(name, found[key]) for name, key in (("Answers", "answers"), ("Spreads", "spread"))]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p>{html.escape(lead)}</p>
{"".join(parts)}</body>
</html>
"""


def _section(name: str, distributions: Mapping[str, Any]) -> str:
    if not distributions:
        return f"<h2>{name}</h2>\n<p>none</p>\n"
    figures = "\n".join(_figure(f"{name}: {axis}", one) for axis, one in distributions.items())
    return f'<h2>{name}</h2>\n<div class="all">\n{figures}\n</div>\n'


def _figure(title: str, one: Mapping[str, Any]) -> str:
    percentiles, bars = one["percentiles"], one["histogram"]
    caption = (
        f"{title}; mean {one['mean']:.3f}, std {one['std']:.3f}, median {percentiles['50']:.3f}, "
        f"{one['n']:,} values, {bars['beyond']:,} of them beyond the picture"
    )
    return f"<figure>{_picture(title, bars)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _picture(title: str, bars: Mapping[str, Any]) -> str:
    counts, low, high = bars["counts"], bars["low"], bars["high"]
    wide, tall = (RIGHT - LEFT) / len(counts), (BASE - TOP) / max(1, *counts)
    drawn = [
        f'<rect x="{LEFT + index * wide:.1f}" y="{BASE - count * tall:.1f}" width="{wide - 1:.1f}" '
        f'height="{count * tall:.1f}"><title>{low + index * (high - low) / len(counts):.3f}: {count:,}</title></rect>'
        for index, count in enumerate(counts)
    ]
    ticks = [
        f'<text x="{LEFT + share * (RIGHT - LEFT):.0f}" y="{BASE + 18}" text-anchor="middle">'
        f"{low + share * (high - low):.3f}</text>"
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    axis = f'<line x1="{LEFT}" x2="{RIGHT}" y1="{BASE}" y2="{BASE}"/>'
    name = html.escape(title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(drawn)}{axis}{"".join(ticks)}'
        f"</svg>"
    )
