"""What every report is made of: one HTML file that loads nothing, its charts, facts and words."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from plotly.offline import get_plotlyjs

from tidegate.lab.report.words import RESOURCE_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.resources import Resource

# The browser itself keeps the promise that the file loads nothing.
POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def document(title: str, body: Sequence[str]) -> str:
    """Return a whole page of parts that are HTML already; ``title`` is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('page.css')}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n"
    )


def chart(name: str, figure: str, label: str, kind: str) -> str:
    """Return the place of a chart and its data, a figure as `figures.figure_json` gives it."""
    return (
        f'<figure><div id="{name}" class="chart {kind}" role="group" aria-label="{escape(label)}"></div>'
        f'<script type="application/json" data-chart="{name}">{figure}</script></figure>'
    )


def facts(known: Sequence[tuple[str, str]]) -> str:
    """Return short facts, each a name and a text."""
    lines = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in known)
    return f'<dl class="facts">{lines}</dl>'


def explained(entries: Sequence[tuple[str, str]]) -> str:
    """Return terms and the sentences that say what they mean."""
    lines = "".join(f"<dt>{escape(term)}</dt><dd>{escape(words)}</dd>" for term, words in entries)
    return f'<dl class="words">{lines}</dl>'


def prose(text: str) -> str:
    """Return text as HTML in which no number is torn from its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def capital(resource: Resource) -> str:
    """Return a resource's name as a heading."""
    words = RESOURCE_WORDS[resource]
    return words[0].upper() + words[1:]


def _asset(name: str) -> str:
    return files("tidegate.lab.report").joinpath(name).read_text("utf-8")
