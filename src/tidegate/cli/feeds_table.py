"""The table of what feeds are worth: on or off for whom, by how much, and what that means in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tidegate.cli.durations import duration_text

if TYPE_CHECKING:
    from tidegate.forecast.feeds import FeedGain
    from tidegate.lab.forecasts.worth import Worth

ROWS_MAX: Final = 40
"""Pairs of feed and group on the screen: those that are on, then those nearest to it."""
WIDE: Final = 110
FEED_WIDTH: Final = 32
GROUP_WIDTH: Final = 20
TOO_SHORT: Final = (
    "nothing to tell of {}, {} ahead: to judge feeds takes about eight days of history, for rare events more"
)


def feeds_table(worth: Worth, base: str, width: int) -> Table | Text:
    """Return one resource's feeds at one horizon, best first; a narrow screen gets no words."""
    label, ahead = worth.resource.label, duration_text(worth.horizon_seconds)
    if not worth.gains:
        return Text(TOO_SHORT.format(label, ahead), style="yellow")
    ranked = sorted(worth.gains, key=lambda gain: (not gain.on, -gain.gain_ratio, gain.feed, gain.group))
    on = sum(gain.on for gain in ranked)
    more = len(ranked) - ROWS_MAX
    title = f"what feeds are worth to {base}, {label}, {ahead} ahead: {on:,} on, {len(ranked) - on:,} off"
    table = Table(
        title=title,
        min_width=min(width, len(title)),
        title_justify="left",
        caption=f"{more:,} more are not shown; --json holds all" if more > 0 else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    wide = width >= WIDE
    table.add_column("feed", no_wrap=True, max_width=FEED_WIDTH, overflow="ellipsis")
    table.add_column("group", no_wrap=True, max_width=GROUP_WIDTH, overflow="ellipsis")
    table.add_column("loss saved", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("is", no_wrap=True)
    if wide:
        table.add_column("in words", no_wrap=True, overflow="ellipsis")
    for gain in ranked[:ROWS_MAX]:
        interval = f"{gain.low:+.1%} to {gain.high:+.1%}"
        words = (in_words(gain),) if wide else ()
        cells = (
            gain.feed,
            gain.group,
            f"{gain.gain_ratio:+.1%}",
            interval,
            "on" if gain.on else "off",
            *words,
        )
        table.add_row(*map(Text, cells), style="bold" if gain.on else None)
    return table


def in_words(gain: FeedGain) -> str:
    """Return what a feed's record means."""
    if gain.on:
        return "helps, and is used"
    if gain.gain_ratio == gain.low == gain.high == 0:
        return "says nothing here: unknown, or always the same"
    if gain.high < 0:
        return "would do harm"
    if gain.low > 0:
        return "too little, or told by others already"
    return "may be chance" if gain.gain_ratio > 0 else "no gain"
