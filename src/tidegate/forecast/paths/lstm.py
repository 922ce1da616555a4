"""One LSTM for all series: trained on a panel with JAX; run with numpy alone, cold or step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.forecast.paths import lstm_memory as memory_of
from tidegate.forecast.paths import lstm_network as network
from tidegate.forecast.paths.lstm_memory import DAY_SECONDS
from tidegate.forecast.paths.lstm_training import WHOLE, Schedule, train
from tidegate.model.errors import InputError
from tidegate.model.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.lstm_memory import Memory
    from tidegate.forecast.paths.lstm_network import Recurrent, Weights
    from tidegate.forecast.paths.lstm_training import Progress
    from tidegate.model.panel import Panel

VERSION: Final = 1
"""Of what the network sees and what its weights mean; another version's weights are refused."""
CONTEXT_SECONDS: Final = 8 * DAY_SECONDS
"""How much history a cold start reads: a week of days, and the one that is asked about."""
CONTEXT_STEPS: Final = 96
"""How many of its last steps the recurrent part reads; training warms up as long."""
SERIES_AT_ONCE: Final = 512
"""How many series are read at once: what a step touches stays in the cache."""


@dataclass(slots=True, kw_only=True, eq=False)
class Carried:
    """What is carried from sample to sample: cost and size of a step do not depend on the past."""

    memory: Memory
    recurrent: Recurrent


class Lstm:
    """A global model of all series of one resource; serves series it never saw."""

    def __init__(
        self,
        *,
        seed: int,
        schedule: Schedule = WHOLE,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Draw everything from ``seed``; ``progress`` is called after each round of training."""
        self._seed = seed
        self._schedule = schedule
        self._progress = progress
        self._weights: Weights | None = None
        self._step_seconds = 0

    def fit(self, panel: Panel) -> None:
        """Train on all series of a panel, those of large VMs weighing more.

        Raises:
            InputError: the histories are too short.

        """
        self._weights = train(panel, seed=self._seed, schedule=self._schedule, progress=self._progress)
        self._step_seconds = panel.step_seconds

    def paths(self, panel: Panel, horizon_steps: int) -> Paths:
        """Return quantiles of each step ahead, from the last `CONTEXT_SECONDS` of the panel.

        Raises:
            RuntimeError: the model is neither trained nor restored.
            InputError: it was trained on another step.

        """
        steps = np.arange(1, horizon_steps + 1)
        series = len(panel.names)
        found = np.empty((memory_of.LEVELS, horizon_steps, series), dtype=np.float32)
        for start in range(0, series, SERIES_AT_ONCE):
            some = np.arange(start, min(start + SERIES_AT_ONCE, series))
            found[:, :, some] = self._quantiles(self.start(panel.of(some)), steps)
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=found)

    def start(self, panel: Panel, context_steps: int = CONTEXT_STEPS) -> Carried:
        """Read histories cold; the recurrent part starts at rest ``context_steps`` before their end."""
        weights = self._trained(panel.step_seconds)
        shares = panel.shares[-max(CONTEXT_SECONDS // panel.step_seconds, context_steps) :]
        series = shares.shape[1]
        began = panel.end_seconds - shares.shape[0] * panel.step_seconds
        memory = memory_of.fresh(series, step_seconds=panel.step_seconds, end_seconds=began)
        recurrent = network.at_rest(series)
        for at, sample in enumerate(shares, start=context_steps - shares.shape[0]):
            memory_of.advance(memory, sample)
            if at >= 0:
                recurrent = network.step_recurrent(weights, recurrent, memory_of.inputs(memory))
        return Carried(memory=memory, recurrent=recurrent)

    def step(self, carried: Carried, sample: NDArray[np.float32]) -> Carried:
        """Take in the next sample (series,) of every series, NaN where missing; ``carried`` is used up."""
        weights = self._trained(carried.memory.step_seconds)
        memory_of.advance(carried.memory, sample)
        seen = memory_of.inputs(carried.memory)
        recurrent = network.step_recurrent(weights, carried.recurrent, seen)
        return Carried(memory=carried.memory, recurrent=recurrent)

    def quantiles(self, carried: Carried, steps: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Return quantiles (levels, times, series) at times ahead, in steps; by default the knots'."""
        self._trained(carried.memory.step_seconds)
        if steps is None:
            steps = knot_steps(carried.memory.step_seconds)
        return self._quantiles(carried, steps)

    def state(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the weights, the step they are for and the version; nothing before training."""
        if self._weights is None:
            return {}
        about = {"version": np.array([VERSION]), "step_seconds": np.array([self._step_seconds])}
        return about | {name: array.copy() for name, array in self._weights.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Serve with weights that `state` returned.

        Raises:
            InputError: they are of another version, or something is missing or has another shape.

        """
        if not state:
            self._weights = None
            return
        version, step = _number(state, "version"), _number(state, "step_seconds")
        if version != VERSION:
            raise InputError(f"the stored LSTM is of version {version}, not {VERSION}; train it anew")
        if step <= 0:
            raise InputError(f"the stored LSTM's step is {step} s; train it anew")
        self._weights, self._step_seconds = network.checked(state), step

    def _quantiles(self, carried: Carried, steps: NDArray[np.intp]) -> NDArray[np.float32]:
        weights = self._trained(carried.memory.step_seconds)
        return network.quantiles(weights, carried.memory, carried.recurrent, steps)

    def _trained(self, step_seconds: int) -> Weights:
        if self._weights is None:
            raise RuntimeError("the LSTM is not trained: call fit or restore first")
        if step_seconds != self._step_seconds:
            raise InputError(
                f"the LSTM was trained on steps of {self._step_seconds} s, not {step_seconds} s; train again"
            )
        return self._weights


def knot_steps(step_seconds: int) -> NDArray[np.intp]:
    """Return the knots' horizons in steps, each once."""
    return np.unique(np.maximum(1, np.array(network.KNOT_SECONDS) // step_seconds))


def _number(state: Mapping[str, NDArray[Any]], name: str) -> int:
    found = state.get(name)
    if found is None or found.shape != (1,) or found.dtype.kind != "i":
        raise InputError(f"the stored LSTM lacks its '{name}'; train it anew")
    return int(found[0])
