"""`tidegate`: the least grant plus price of running short, changed only when regret has built up.

Per series, with g a grant, P(g) the forecast probability that demand passes it and p the price of
running short (all in shares of capacity):

- wanted: the rung g of the forecast's ladder with the least  g + p P(g);
- price: log p moves by 0.25 (v - sla) after each sample, v = 1 where it ran short, so that in the
  long run an ``sla`` share of samples does (integral control, as in conformal PID control, Angelopoulos,
  Candes & Tibshirani, NeurIPS 2023); a price spends the allowed shortfalls where they save most;
- calm: the regret of not changing, cost(held) - cost(wanted), adds up while it points the same way; a
  change is made when it passes a threshold that itself moves so that about 20 changes a day are made.
  Small steady gains wait, a grant about to run short does not: growth comes on forecast, shrinking on
  evidence that lasted.

Where the forecast has not earned the right to act, the safe model's amount is granted as it is. Where it
knows a schedule, grants follow it without waiting for regret: the bursts and the quiet between them last.

| the VM so far      | what decides                                                     |
|--------------------|------------------------------------------------------------------|
| no sample          | holds what it was sold                                           |
| first hour, first  | recent peak + calibrated margin                                  |
| day of the fleet   |                                                                  |
| later, skill       | the priced curve, shrinking as regret builds up                  |
| later, no skill    | best plain model + its calibrated margin                         |
| silent for a day   | what it was sold                                                 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.model.columns import Column, Columns, flat, prefixed, under
from tidegate.model.forecast import Drift
from tidegate.model.plan import Plan, Reason
from tidegate.model.roster import HOST
from tidegate.model.snapshot import expected, in_server_units
from tidegate.plan.placement import Placement
from tidegate.plan.policies.calibrated_reactive import CalibratedReactive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.model.forecast import Exceedance, Forecast
    from tidegate.model.scores import Scores
    from tidegate.model.snapshot import Snapshot

PRICE_GAIN: Final = np.float32(0.25)
"""How fast the price follows its SLA: one violation raises it by a quarter of e."""
AIM_SWING_RATIO: Final = 0.3
"""How far below its SLA's rate a price aims, in standard deviations of a month's count of misses."""
AIM_SECONDS: Final = 30 * 86_400
AIM_RATIO_MIN: Final = 0.5
PRICE_START: Final = 0.14
PRICE_START_POWER: Final = -0.85
"""Price before any evidence: 0.14 sla^-0.85 of capacity, 7 at 1 %, 50 at 0.1 %: where the prices of most
VMs settled on July's Bitbrains traces."""
PRICE_LOG_BELOW: Final = 3.25
PRICE_LOG_ABOVE: Final = 8.0
"""The price stays within e^-3.25 .. e^8 of its start."""
PRICE_KEPT_RATIO: Final = np.float32(0.5)
"""What is left of log(price / start) when a series' level or season changes."""
NEWCOMER_LOG: Final = np.float32(1.5)
NEWCOMER_SECONDS: Final = np.float32(120_000)
"""A newcomer's price is e^1.5 higher, fading over 33 hours: its habits are not known yet."""
CHANGES_PER_DAY: Final = 20.0
"""Budget of changes of more than 1 % of capacity: fewer than the calibrated rule makes where it is busy."""
CALM_GAIN: Final = np.float32(0.25)
CALM_START: Final = 0.05
CALM_MIN: Final = 0.05
CALM_MAX: Final = 5.0
"""Bounds of the regret threshold, in shares of capacity summed over steps."""
CHANGE_RATIO: Final = np.float32(0.01)
ROUNDING_RATIO: Final = np.float32(1e-6)
"""What is held moved if it differs by more than this share of capacity."""
LEAST_RATIO: Final = np.float32(0.0005)
"""No grant is below this share of capacity."""
SILENT_SECONDS: Final = 86_400
"""Without a sample for so long a workload returns to what it was sold."""
CHUNK: Final = 4096
"""Series worked on at a time, so that their curves fit the cache."""


class Tidegate:
    """Grants by price and regret where the forecast acts, safely where it doesn't."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._placement = Placement()
        self._baseline = CalibratedReactive()
        self._memory = Columns(
            price=Column(dtype=np.float32, fill=0.0),
            regret=Column(dtype=np.float32, fill=0.0),
            calm=Column(dtype=np.float32, fill=float(np.log(CALM_START))),
            silent_seconds=Column(dtype=np.float32, fill=0.0),
            seen_seconds=Column(dtype=np.float32, fill=0.0),
            held=Column(dtype=np.float32, fill=np.nan),
            at_once=Column(dtype=np.bool_, fill=False),
        )

    def plan(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> Plan:
        """Return the wanted shares with reasons, and what would be wanted without the forecast.

        A forecaster that knows amounts and no curve leaves it with the safe baseline alone.
        """
        memory = self._memory
        memory.follow(snapshot)
        present = ~np.isnan(snapshot.used)
        silent = np.where(present, 0, memory["silent_seconds"] + snapshot.step_seconds)
        memory["silent_seconds"] = silent
        memory["seen_seconds"] = memory["seen_seconds"] + snapshot.step_seconds * present
        self._reprice(snapshot, present)
        self._forget(forecast)
        held = in_server_units(expected(snapshot), snapshot)
        self._follow_changes(snapshot, held)
        safe = self._safe(snapshot, forecast, scores)
        total, acts = self._totals(snapshot, forecast, held, safe)
        total = np.where(present, total, held)
        total = np.where(np.isnan(safe) | (silent >= SILENT_SECONDS), snapshot.capacity, total)
        least = np.maximum(snapshot.roster.floor, LEAST_RATIO * snapshot.capacity)
        total = np.clip(total, least, snapshot.capacity)
        placed = self._placement.place(total, snapshot)
        return Plan(
            time_seconds=snapshot.time_seconds,
            expires_seconds=snapshot.time_seconds + snapshot.step_seconds,
            wanted=np.stack([placed.host, placed.card]),
            card=snapshot.card,
            reason=_reasons(snapshot, total, held, acts, placed.shortfall),
            shortfall=placed.shortfall,
            counterfactual=np.where(np.isnan(safe), snapshot.capacity, np.minimum(safe, snapshot.capacity)),
        )

    def _safe(self, snapshot: Snapshot, forecast: Forecast, scores: Scores | None) -> NDArray[np.float32]:
        """Return what would be granted without the curve (resources, workloads); NaN where unknown."""
        if forecast.exceedance is not None:
            return forecast.exceedance.safe
        return self._baseline.plan(snapshot, forecast, scores).wanted[HOST]

    def _reprice(self, snapshot: Snapshot, present: NDArray[np.bool_]) -> None:
        """Move log(price / start) after each sample."""
        step = PRICE_GAIN * (snapshot.pressed - aim(snapshot.roster.violation_rate, snapshot.step_seconds))
        price = self._memory["price"] + np.where(present, step, 0)
        self._memory["price"] = np.clip(price, -PRICE_LOG_BELOW, PRICE_LOG_ABOVE)

    def _forget(self, forecast: Forecast) -> None:
        """Bring prices halfway back to their start where a series' level or season has just changed.

        They are of what it was before. Where only its variance did, misses tell soon enough.
        """
        drift = forecast.drift
        if drift is not None and drift.noticed.any():
            self._memory["price"][drift.noticed & (drift.kind != Drift.VARIANCE)] *= PRICE_KEPT_RATIO

    def _totals(
        self, snapshot: Snapshot, forecast: Forecast, held: NDArray[np.float32], safe: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the wanted totals in base units and where the curve decided."""
        curve = forecast.exceedance
        if curve is None:
            return safe, np.zeros(safe.shape, dtype=np.bool_)
        at_once = np.zeros(safe.shape, dtype=np.bool_) if curve.at_once is None else curve.at_once
        self._memory["at_once"] = at_once
        total = np.array(safe, order="C")
        start = np.log(PRICE_START * snapshot.roster.violation_rate**PRICE_START_POWER).astype(np.float32)
        starts, at_once = np.broadcast_to(start, safe.shape).reshape(-1), at_once.reshape(-1)
        seen, prices = flat(self._memory["seen_seconds"]), flat(self._memory["price"])
        scale, acts, helds = curve.scale.reshape(-1), curve.acts.reshape(-1), held.reshape(-1)
        totals = flat(total)
        for begin in range(0, totals.size, CHUNK):
            part = slice(begin, begin + CHUNK)
            newcomer = NEWCOMER_LOG * np.exp(-seen[part] / NEWCOMER_SECONDS)
            # A schedule never runs short, and its price would sink until running short pays.
            log_price = np.where(at_once[part], np.maximum(prices[part], 0), prices[part])
            price = np.exp(log_price + starts[part] + newcomer)
            capacity = scale[part]
            with np.errstate(invalid="ignore", divide="ignore"):
                grant = np.minimum(helds[part] / capacity, 1)
            wanted, gap = _cheapest(curve, part, grant, price)
            calmed = self._calmed(part, grant, wanted, gap)
            calmed = np.where(at_once[part], wanted, calmed)
            totals[part] = np.where(acts[part], calmed * capacity, totals[part])
        return total, curve.acts

    def _calmed(
        self,
        part: slice,
        grant: NDArray[np.float32],
        wanted: NDArray[np.float32],
        gap: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return each series' grant after this tick: the wanted one where regret has built up."""
        grows = wanted > grant
        # What is held of an unknown capacity is no regret: once unknown, the sum would stay so.
        gap = np.nan_to_num(gap)
        regret = flat(self._memory["regret"])[part]
        summed = np.where(grows == (regret < 0), regret, 0) + np.where(grows, -gap, gap)
        regret[:] = summed
        return np.where(np.abs(summed) > np.exp(flat(self._memory["calm"])[part]), wanted, grant)

    def _follow_changes(self, snapshot: Snapshot, held: NDArray[np.float32]) -> None:
        """Look at what became of the last plan: a change ends regret and raises the threshold.

        What a guard or a full place refused is no change: its regret goes on adding up. Between changes
        the threshold sinks, so that the budget is spent.
        """
        moved = np.abs(held - self._memory["held"])
        self._memory["held"] = held
        np.copyto(self._memory["regret"], np.float32(0), where=moved > ROUNDING_RATIO * snapshot.capacity)
        # Changes that follow a schedule were meant; they must not slow down the others.
        changed = (moved > CHANGE_RATIO * snapshot.capacity) & ~self._memory["at_once"]
        budget = np.float32(CHANGES_PER_DAY * snapshot.step_seconds / 86_400)
        calm = self._memory["calm"] + CALM_GAIN * (changed - budget)
        self._memory["calm"] = np.clip(calm, np.log(CALM_MIN), np.log(CALM_MAX))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return prices, regrets and thresholds."""
        return self._memory.state() | prefixed("baseline", self._baseline.state())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state."""
        self._memory.restore(state)
        self._baseline.restore(under(state, "baseline"))


def aim(violation_rate: NDArray[np.float32], step_seconds: int) -> NDArray[np.float32]:
    """Return the rate of misses to aim at: a little below the SLA's, since a promise is made to each VM.

    A month's count swings by its square root around its mean, so a VM that aims at its rate is above it
    every other month. With 0.3 of that swing, at five minutes:

    | SLA   | misses a month | aim            |
    |-------|----------------|----------------|
    | 5 %   | 432            | 0.986 x SLA    |
    | 1 %   | 86             | 0.968 x SLA    |
    | 0.1 % | 9              | 0.898 x SLA    |
    """
    allowed = violation_rate * (AIM_SECONDS / step_seconds)
    ratio = np.maximum(1 - AIM_SWING_RATIO / np.sqrt(allowed), AIM_RATIO_MIN)
    return (violation_rate * ratio).astype(np.float32)


def _cheapest(
    curve: Exceedance,
    part: slice,
    grant: NDArray[np.float32],
    price: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the rung with the least grant + price x risk, and what holding ``grant`` costs above it.

    ``part`` are flat numbers of series. Both (series,) in shares of capacity.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        last = curve.base.reshape(-1)[part] / curve.scale.reshape(-1)[part]
    probability = curve.probability.reshape(curve.offsets.size, -1)[:, part]
    rung = last + curve.offsets[:, None]
    cost = probability * price
    cost += rung
    np.copyto(cost, np.float32(1), where=rung >= 1)
    np.copyto(cost, np.float32(np.inf), where=rung < LEAST_RATIO)
    best = cost.argmin(axis=0)
    wanted, least = np.minimum(last + curve.offsets[best], 1), cost[best, np.arange(best.size)]
    wanted, least = np.where(least >= 1, np.float32(1), wanted), np.minimum(least, 1)
    keep = grant + price * _passed(probability, curve.offsets, grant, last)
    return wanted, np.maximum(keep - least, 0)


def _passed(
    probability: NDArray[np.float32],
    offsets: NDArray[np.float32],
    grant: NDArray[np.float32],
    last: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the probability that demand passes the held grant: that of the rung at or below it."""
    rung = np.searchsorted(offsets, grant - last, side="right") - 1
    on_ladder = probability[np.maximum(rung, 0), np.arange(rung.size)]
    return np.where(grant >= 1, 0, np.where(rung < 0, 1, on_ladder)).astype(np.float32)


def _reasons(
    snapshot: Snapshot,
    total: NDArray[np.float32],
    held: NDArray[np.float32],
    acts: NDArray[np.bool_],
    shortfall: NDArray[np.float32],
) -> NDArray[np.uint8]:
    conditions = [
        shortfall > np.float32(1e-3) * snapshot.capacity,
        np.isnan(snapshot.used),
        ~acts,
        (total > held) & snapshot.pressed,
        total > held,
        total < held,
    ]
    choices = [
        Reason.PLACE_SHORT,
        Reason.MISSING_SAMPLES,
        Reason.BASELINE,
        Reason.GROW_ON_PRESSURE,
        Reason.GROW_ON_FORECAST,
        Reason.SHRINK_ON_EVIDENCE,
    ]
    return np.select(conditions, [np.uint8(choice) for choice in choices], np.uint8(Reason.HOLD))
