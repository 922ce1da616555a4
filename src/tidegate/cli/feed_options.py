"""What `--feed`, `--feeds` and `--app-metrics` ask for: which feeds there are, and which models meet them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from tidegate.app.path_models import FEEDS_SUFFIX, without_feeds
from tidegate.cli.model_names import parse_models
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.model.feed import Feed
    from tidegate.model.trace import Trace

BASE: Final = "profile"
"""The model that feeds are tried behind where nobody names one: quick, and it knows what is usual."""
ENGINE: Final = "engine"
HOW: Final = "give one, such as --feed events=launches.ics or --feed holidays=US-NY"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FeedOptions(NamedTuple):
    """The options as typed."""

    specs: tuple[str, ...]
    """Of `--feed`."""
    judged: bool
    """`--feeds`: what is each worth?"""
    app_metrics: bool | None
    """Whether the trace's own columns are feeds; None: with `--feeds`."""

    @property
    def asked(self) -> bool:
        """Whether there must be feeds."""
        return self.judged or bool(self.specs) or self.app_metrics is True


def models_with(options: FeedOptions, model: str | None, *, seed: int) -> tuple[list[str], list[str]]:
    """Return the models to run, and why some of the default are left out.

    To judge feeds it is one model, without and with them. Else it is the list that was asked for; the default
    list has the engine with feeds too, if there are any.

    Raises:
        InputError: see `parse_models`; feeds are judged behind more than one model; a model with feeds is
            named and there are none.

    """
    if options.judged:
        names, left_out = parse_models(BASE if model is None else model, seed=seed)
        if len(names) > 1:
            raise InputError(f"--feeds tries feeds behind one model, not {', '.join(names)}; leave one there")
        base = without_feeds(names[0])
        return [base, base + FEEDS_SUFFIX], left_out
    names, left_out = parse_models(model, seed=seed)
    if model is None and options.asked and ENGINE in names:
        names.append(ENGINE + FEEDS_SUFFIX)
    with_feeds = [name for name in names if without_feeds(name) != name]
    if with_feeds and not options.asked:
        raise InputError(f"{with_feeds[0]} needs feeds, and none is given; {HOW}, or use --app-metrics")
    return names, left_out


def unheard(options: FeedOptions, models: Sequence[str]) -> list[str]:
    """Return a note where feeds are given and no model is wrapped to use them."""
    if not options.asked or any(without_feeds(name) != name for name in models):
        return []
    named = f"--model {models[0]}{FEEDS_SUFFIX} uses those that help"
    return [f"none of these models is wrapped to use feeds, few look at them by themselves: {named}"]


def feeds_for(trace: Trace, options: FeedOptions, traces: Sequence[Path]) -> tuple[Feed, ...]:
    """Return the feeds that were named, and those in the trace itself.

    What repeats, and holidays, are played through the years that the trace spans, and the day after.

    Raises:
        InputError: a feed can't be read, two are called the same, or none is there though asked for.

    """
    # Not on top: polars comes with an extra, and other commands do without.
    from tidegate.drivers.feeds import read_feeds
    from tidegate.lab.trace_feeds import trace_feeds

    found: list[Feed] = []
    years = _years(trace)
    for spec in dict.fromkeys(options.specs):
        more = read_feeds(spec, years=years)
        taken = {(feed.name, feed.kind, feed.vms) for feed in found}
        for feed in more:
            if (feed.name, feed.kind, feed.vms) in taken:
                raise InputError(f"--feed {spec}: another feed is called {feed.name!r}; rename one of them")
        found += more
    own = options.judged if options.app_metrics is None else options.app_metrics
    if own:
        inside = trace_feeds(traces)
        if options.app_metrics and not inside:
            raise InputError(
                "the trace has no column app_* nor of memory behaviour; leave --app-metrics out, or add one"
            )
        found += inside
    if options.asked and not found:
        where = "and the trace has no column app_* nor of memory behaviour" if own else "nor one in a file"
        raise InputError(f"no feed was given, {where}; {HOW}")
    return tuple(found)


def _years(trace: Trace) -> tuple[int, int]:
    """Return the first and the last year (UTC) of a trace and the day after it."""
    begin = _EPOCH + timedelta(seconds=trace.start_seconds)
    end = _EPOCH + timedelta(seconds=trace.start_seconds + trace.ticks * trace.step_seconds, days=1)
    return begin.year, end.year
