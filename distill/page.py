"""What the pages that commands write have in common: one file, no scripts, no network, readable by day and by night."""

from __future__ import annotations

import html
from pathlib import Path


def page(title: str, body: str, *, kicker: str, lead: str, footer: str) -> str:
    """An HTML page that needs nothing else. title, kicker, lead: text; body, footer: markup.

    Pictures of `distill.plots` take their colours from its style sheet, page.css.

    >>> page("a < b", "<p>so</p>", kicker="distill", lead="what it is", footer="").count("a &lt; b")
    2
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{html.escape(kicker)}</p>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
</header>
{body}
<footer>{footer}</footer>
</main>
</body>
</html>
"""
