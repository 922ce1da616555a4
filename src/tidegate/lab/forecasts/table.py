"""Figures of all models side by side: what the screen, the report and machines read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.lab.forecasts.intervals import drawn_origins, ratio_interval, wql_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.lab.forecasts.intervals import Interval
    from tidegate.lab.forecasts.measures import PathMeasures
    from tidegate.lab.forecasts.origins import Origins
    from tidegate.lab.forecasts.run import ForecastResult
    from tidegate.model.resources import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model at one resource and horizon."""

    model: str
    resource: Resource
    horizon_seconds: int
    measures: PathMeasures
    wql_interval: Interval | None
    """95 % of the draws lie between."""
    ratio: float | None
    """Its WQL over that of the best model; 1 for the best."""
    ratio_interval: Interval | None
    """Above 1 on both ends: worse than the best beyond what the choice of origins explains."""
    seconds_per_series_fit: float
    seconds_per_series_predict: float


def rows_of(
    results: Sequence[ForecastResult], origins: Origins, horizon: int, *, step_seconds: int, seed: int
) -> list[Row]:
    """Return the rows of one resource's ``results`` at a horizon (row number), the best first.

    Who has no WQL, for nothing was used at all, stands last.
    """
    drawn = drawn_origins(origins, horizon, seed)
    measured = {result.run.model: result.tally.measures(horizon) for result in results}

    def loss(result: ForecastResult) -> tuple[bool, float]:
        of = measured[result.run.model].wql
        return of is None, of or 0.0

    ranked = sorted(results, key=loss)
    best = ranked[0]
    least = measured[best.run.model].wql
    return [
        Row(
            model=result.run.model,
            resource=result.run.resource,
            horizon_seconds=origins.horizons_steps[horizon] * step_seconds,
            measures=measured[result.run.model],
            wql_interval=wql_interval(result.tally, horizon, drawn),
            ratio=_ratio(measured[result.run.model].wql, least),
            ratio_interval=ratio_interval(result.tally, best.tally, horizon, drawn),
            seconds_per_series_fit=result.seconds_per_series_fit,
            seconds_per_series_predict=result.seconds_per_series_predict,
        )
        for result in ranked
    ]


def figures(
    results: Sequence[ForecastResult], origins: Origins, *, step_seconds: int, seed: int
) -> dict[str, object]:
    """Return all figures in the form that machines read: by resource, horizon, and the order asked for."""
    entries = []
    for resource in dict.fromkeys(result.run.resource for result in results):
        own = [result for result in results if result.run.resource is resource]
        for horizon in range(len(origins.horizons_steps)):
            rows = rows_of(own, origins, horizon, step_seconds=step_seconds, seed=seed)
            by_name = {row.model: row for row in rows}
            entries += [_entry(by_name[result.run.model], len(origins.steps)) for result in own]
    return {"models": entries}


def _entry(row: Row, origins: int) -> dict[str, object]:
    of = row.measures
    low, high = row.wql_interval or (None, None)
    return {
        "name": row.model,
        "resource": row.resource.label,
        "horizon_seconds": row.horizon_seconds,
        "mase_median": of.mase_median,
        "mase_mean": of.mase_mean,
        "wql": of.wql,
        "coverage": {f"{level:g}": reached for level, reached in of.coverage.items()},
        "seconds_per_series_fit": row.seconds_per_series_fit,
        "seconds_per_series_predict": row.seconds_per_series_predict,
        "series": of.series,
        "series_without_scale": of.series_without_scale,
        "origins": origins,
        "wql_low": low,
        "wql_high": high,
    }


def _ratio(loss: float | None, least: float | None) -> float | None:
    return None if loss is None or not least else loss / least
