"""What feeds are worth on a trace: by feed, group of VMs, resource and horizon, behind one model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidegate.app.path_models import FEEDS_SUFFIX, path_model, without_feeds
from tidegate.app.threads import one_blas_thread
from tidegate.forecast.feeds import WithFeeds
from tidegate.lab.panels import panel_of
from tidegate.lab.pool import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.forecast.feeds import FeedGain
    from tidegate.lab.forecasts.run import ForecastSettings
    from tidegate.model.resources import Resource
    from tidegate.model.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What each feed was worth to each group, for one resource and horizon."""

    resource: Resource
    horizon_seconds: int
    gains: tuple[FeedGain, ...]
    """Of every feed and group; empty if the trace is too short to tell."""


def worth_of_feeds(
    trace: Trace, base: str, settings: ForecastSettings, *, processes: int | None = None
) -> list[Worth]:
    """Try every feed of ``settings`` on a whole trace with known capacity, behind the model ``base``.

    Each horizon is tried on its own; groups are servers where the trace has them, else what names start
    with. Returns resource by resource, the nearest horizon first.

    Raises:
        InputError: nobody goes by the model's name.

    """
    runs = [
        (resource, seconds)
        for resource in trace.resources
        for seconds in sorted(set(settings.horizons_seconds))
    ]
    return run_all(_worth, (trace, without_feeds(base), settings), runs, processes=processes)


def _worth(
    given: tuple[Trace, str, ForecastSettings], run: tuple[Resource, int], _progress: Callable[[int], None]
) -> Worth:
    (trace, base, settings), (resource, seconds) = given, run
    model = path_model(base + FEEDS_SUFFIX, seed=settings.seed, processes=1, feeds_seconds=seconds)
    panel = replace(panel_of(trace, resource), feeds=settings.feeds)
    with one_blas_thread():
        gains = model.judge(panel) if isinstance(model, WithFeeds) else ()
    return Worth(resource=resource, horizon_seconds=seconds, gains=gains)


def worth_figures(found: Sequence[Worth]) -> list[dict[str, object]]:
    """Return all of it in the form that machines read."""
    return [
        {
            "feed": gain.feed,
            "kind": gain.kind.value,
            "group": gain.group,
            "resource": worth.resource.label,
            "horizon_seconds": worth.horizon_seconds,
            "gain_ratio": gain.gain_ratio,
            "low": gain.low,
            "high": gain.high,
            "on": gain.on,
        }
        for worth in found
        for gain in worth.gains
    ]
