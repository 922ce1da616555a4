"""How many series a second the LSTM serves on one core: carried from sample to sample, and read cold.

Seconds are those of the processor, with one thread: what one core takes, whatever else runs meanwhile.
"""

from __future__ import annotations

import statistics
from time import process_time
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.app.path_models import path_model
from tidegate.app.threads import one_blas_thread
from tidegate.forecast.paths import lstm_network
from tidegate.forecast.paths.lstm import VERSION, Lstm
from tidegate.lab.bench.forecast.asked import Answer
from tidegate.lab.bench.result import row
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.lab.bench.forecast.asked import Asked

CARRIED_SERIES: Final = 20_000
CARRIED_TICKS: Final = 9
COLD_SERIES: Final = 2_048
AT_ONCE: Final = 512
"""Cold series are read so many at a time, as the model itself does it."""
COLD_TURNS: Final = 3
STEP_SECONDS: Final = 300
START_SECONDS: Final = 1_700_006_400
"""A midnight: no measured tick ends a day, whose quantiles are then taken in one."""
BEFORE_STEPS: Final = 288 + 96
"""What carried series have behind them: what was seen at every time of day counts, how long ago doesn't."""
COLD_STEPS: Final = 8 * 288
"""All that a cold start reads."""
SECONDS_MIN: Final = 1e-9
"""A processor's clock may not have moved."""
CARRIED_LIMIT: Final = 20_000.0
COLD_LIMIT: Final = 2_000.0


def lstm_answer(asked: Asked, progress: Callable[[str, int, int], None]) -> Answer:
    """Measure one tick of carried series, and reading cold ones; left out where it is not installed."""
    try:
        model = drawn(asked.seed)
    except InputError as error:
        return Answer(rows=(), notes=(f"left out: {error}",))
    random = np.random.default_rng(asked.seed)
    with one_blas_thread():
        carried = CARRIED_SERIES / max(_carried_seconds(model, random, progress), SECONDS_MIN)
        cold = COLD_SERIES / max(_cold_seconds(model, random, progress), SECONDS_MIN)
    return Answer(
        rows=(
            row("lstm_series_per_second", carried, "1/s", CARRIED_LIMIT, "min"),
            row("lstm_series_per_second_cold", cold, "1/s", COLD_LIMIT, "min"),
        )
    )


def drawn(seed: int) -> Lstm:
    """Return the LSTM with weights as training draws them first: speed doesn't depend on what they are.

    Raises:
        InputError: it is not installed.

    """
    path_model("lstm", seed=seed)
    model = Lstm(seed=seed)
    weights = lstm_network.first_weights(np.random.default_rng(seed))
    about = {"version": np.array([VERSION]), "step_seconds": np.array([STEP_SECONDS])}
    model.restore(weights | about)
    return model


def _carried_seconds(
    model: Lstm, random: np.random.Generator, progress: Callable[[str, int, int], None]
) -> float:
    """Return the median seconds of a tick: the next sample of every series, and what is said then."""
    carried = model.start(_panel(BEFORE_STEPS, CARRIED_SERIES, random))
    seconds = []
    for done in range(CARRIED_TICKS):
        progress("LSTM, ticks of carried series", done, CARRIED_TICKS)
        sample = random.random(CARRIED_SERIES, dtype=np.float32)
        before = process_time()
        carried = model.step(carried, sample)
        model.quantiles(carried)
        seconds.append(process_time() - before)
    return statistics.median(seconds)


def _cold_seconds(
    model: Lstm, random: np.random.Generator, progress: Callable[[str, int, int], None]
) -> float:
    """Return the median seconds of reading all series' histories and saying what comes."""
    panel = _panel(COLD_STEPS, COLD_SERIES, random)
    seconds = []
    for done in range(COLD_TURNS):
        progress("LSTM, series read cold", done, COLD_TURNS)
        before = process_time()
        for first in range(0, COLD_SERIES, AT_ONCE):
            some = np.arange(first, min(first + AT_ONCE, COLD_SERIES))
            model.quantiles(model.start(panel.of(some)))
        seconds.append(process_time() - before)
    return statistics.median(seconds)


def _panel(steps: int, series: int, random: np.random.Generator) -> Panel:
    return Panel(
        start_seconds=START_SECONDS,
        step_seconds=STEP_SECONDS,
        names=tuple(f"vm{at}" for at in range(series)),
        shares=random.random((steps, series), dtype=np.float32),
        capacity=np.ones(series, dtype=np.float32),
    )
