"""The engine beside every single model: its loss over the best one's, per resource and horizon; coverage.

The engine is right only where it is no worse than the member that turned out best there, which nobody could
know before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.app.path_models import path_model
from tidegate.lab.bench.forecast.asked import Answer
from tidegate.lab.bench.result import Row, row
from tidegate.lab.forecasts.intervals import drawn_origins, ratio_interval
from tidegate.lab.forecasts.run import ForecastSettings, forecast_each, origins_in, runs_of
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tidegate.lab.bench.forecast.asked import Asked
    from tidegate.lab.forecasts.measures import PathMeasures, PathTally
    from tidegate.lab.forecasts.origins import Origins
    from tidegate.lab.forecasts.run import ForecastResult
    from tidegate.model.trace import Trace

ENGINE: Final = "engine"
PEER: Final = "fracast"
"""Somebody else's pre-trained network: no member, held against on its own."""
MEMBERS: Final = (
    *("last", "seasonal_naive", "percentile", "recent_peak", "profile"),
    *("arima", "ets", "theta", "mstl", "prophet"),
    *("ridge", "lightgbm", "lstm"),
)
HORIZONS: Final = {3_600: "1h", 86_400: "24h"}
"""By seconds, as figures name them."""
LOSS_LIMIT: Final = 1.0
ERROR_LIMIT: Final = 1.02
"""Of the median's scaled error, which the engine is not chosen by."""
COVERAGE_LIMITS: Final = {0.9: 0.015, 0.95: 0.01, 0.99: 0.005}
"""How far coverage may be off, by level."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Field:
    """Everybody at one resource and horizon."""

    where: str
    """As figures name it: ``cpu.1h``."""
    horizon: int
    tallies: Mapping[str, PathTally]
    measured: Mapping[str, PathMeasures]
    drawn: NDArray[np.intp] | None

    def losses(self) -> dict[str, float]:
        """Return everybody's weighted quantile loss."""
        return {name: of.wql for name, of in self.measured.items() if of.wql is not None}

    def errors(self) -> dict[str, float]:
        """Return everybody's scaled error of the median."""
        return {name: of.mase_median for name, of in self.measured.items() if of.mase_median is not None}


def check_members(asked: Asked) -> None:
    """Refuse models that were asked for by name and can't run.

    Raises:
        InputError: one is unknown, not installed or named twice, or there is none beside the engine.

    """
    if asked.models is None:
        return
    if len(set(asked.models)) != len(asked.models):
        raise InputError(f"--model names a model twice: {', '.join(asked.models)}")
    for name in asked.models:
        path_model(name, seed=asked.seed)
    if not set(asked.models) - {ENGINE, PEER}:
        raise InputError("--model names nobody to hold the engine against; name a member, such as ridge")


def league_answer(trace: Trace, asked: Asked, progress: Callable[[str, int, int], None]) -> Answer:
    """Run the engine, its members and the peer side by side, and hold it against each that did not fail.

    Raises:
        InputError: the engine or every member is not installed, the trace is too short, or nothing was used.

    """
    members, notes = _members(asked)
    path_model(ENGINE, seed=asked.seed)
    settings = ForecastSettings(horizons_seconds=tuple(HORIZONS), origins=asked.origins, seed=asked.seed)
    placed = origins_in(trace, settings)
    runs = runs_of([ENGINE, *members], trace.resources)

    def told(done: Sequence[int]) -> None:
        progress("models side by side, origins", sum(done), asked.origins * len(runs))

    results, failed = forecast_each(trace, runs, settings, processes=asked.processes, progress=told)
    fields = list(_fields(results, placed, trace.step_seconds, asked.seed))
    if not failed and not any(ENGINE in field.losses() for field in fields):
        raise InputError(f"in trace '{trace.name}' nothing was used after any origin; give another trace")
    rows = [*_against_best(fields), *_against_peer(fields), *_coverage(fields), *_everybody(fields)]
    return Answer(
        rows=tuple(rows), notes=(*notes, *_best(fields)), failures=tuple(failure.said for failure in failed)
    )


def _members(asked: Asked) -> tuple[list[str], list[str]]:
    """Return who runs beside the engine, and why others don't."""
    if asked.models is not None:
        return [name for name in asked.models if name != ENGINE], []
    here, left_out = [], []
    for name in (*MEMBERS, PEER):
        try:
            path_model(name, seed=asked.seed)
        except InputError as error:
            left_out.append(f"left out: {error}")
        else:
            here.append(name)
    if not set(here) - {PEER}:
        raise InputError(f"there is nobody to hold the engine against; {'; '.join(left_out)}")
    return here, left_out


def _fields(
    results: Sequence[ForecastResult], origins: Origins, step_seconds: int, seed: int
) -> Iterator[_Field]:
    for resource in dict.fromkeys(result.run.resource for result in results):
        tallies = {result.run.model: result.tally for result in results if result.run.resource is resource}
        for horizon, steps in enumerate(origins.horizons_steps):
            yield _Field(
                where=f"{resource.label}.{HORIZONS[steps * step_seconds]}",
                horizon=horizon,
                tallies=tallies,
                measured={name: tally.measures(horizon) for name, tally in tallies.items()},
                drawn=drawn_origins(origins, horizon, seed),
            )


def _least(values: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the best member and its value."""
    members = [(value, name) for name, value in values.items() if name not in {ENGINE, PEER}]
    if not members:
        return None
    value, name = min(members)
    return name, value


def _over(name: str, ratios: Mapping[str, float], limit: float | None) -> list[Row]:
    """Return the largest of the ratios beside its limit, and each."""
    if not ratios:
        return []
    each = [row(f"{name}.{where}", ratio, "ratio") for where, ratio in ratios.items()]
    return [row(name, max(ratios.values()), "ratio", limit), *each]


def _against_best(fields: Sequence[_Field]) -> list[Row]:
    """Return the engine's loss and error over those of the best member, with intervals."""
    losses, errors, between = {}, {}, []
    for field in fields:
        found, least = field.losses(), _least(field.losses())
        if least is not None and least[1] > 0 and ENGINE in found:
            losses[field.where] = found[ENGINE] / least[1]
            between += _interval("engine_wql_over_best_member", field, least[0])
        off, nearest = field.errors(), _least(field.errors())
        if nearest is not None and nearest[1] > 0 and ENGINE in off:
            errors[field.where] = off[ENGINE] / nearest[1]
    return [
        *_over("engine_wql_over_best_member", losses, LOSS_LIMIT),
        *between,
        *_over("mase_median_over_best_member", errors, ERROR_LIMIT),
    ]


def _against_peer(fields: Sequence[_Field]) -> list[Row]:
    losses, between = {}, []
    for field in fields:
        found = field.losses()
        if ENGINE in found and found.get(PEER, 0) > 0:
            losses[field.where] = found[ENGINE] / found[PEER]
            between += _interval("engine_wql_over_fracast", field, PEER)
    return [*_over("engine_wql_over_fracast", losses, LOSS_LIMIT), *between]


def _interval(name: str, field: _Field, other: str) -> list[Row]:
    """Return where 95 % of the draws of the engine's loss over another's lie; nothing with few origins."""
    of, against = field.tallies[ENGINE], field.tallies[other]
    found = ratio_interval(of, against, field.horizon, field.drawn)
    if found is None:
        return []
    ends = zip(("low", "high"), found, strict=True)
    return [row(f"{name}_{end}.{field.where}", value, "ratio") for end, value in ends]


def _coverage(fields: Sequence[_Field]) -> list[Row]:
    """Return how far the engine's coverage is off at most, and the coverage itself."""
    worst, each = [], []
    ours = {field.where: field.measured[ENGINE] for field in fields if ENGINE in field.measured}
    for level, limit in COVERAGE_LIMITS.items():
        name = f"p{round(100 * level)}"
        reached = {where: of.coverage[level] for where, of in ours.items()}
        known = {where: value for where, value in reached.items() if value is not None}
        if known:
            off = max(abs(value - level) for value in known.values())
            worst.append(row(f"coverage_error_{name}", off, "ratio", limit))
        each += [row(f"coverage_{name}.{where}", value, "ratio") for where, value in known.items()]
    return [*worst, *each]


def _everybody(fields: Sequence[_Field]) -> Iterator[Row]:
    """Return everybody's loss and error, beside the engine's and the best member's."""
    for field in fields:
        for measure, values in (("wql", field.losses()), ("mase_median", field.errors())):
            least = _least(values)
            if ENGINE in values:
                yield row(f"engine_{measure}.{field.where}", values[ENGINE], "ratio")
            if least is not None:
                yield row(f"best_member_{measure}.{field.where}", least[1], "ratio")
            for name, value in values.items():
                yield row(f"{measure}.{field.where}.{name}", value, "ratio")


def _best(fields: Sequence[_Field]) -> Iterator[str]:
    for field in fields:
        least = _least(field.losses())
        if least is not None:
            yield f"best member at {field.where}: {least[0]}"
