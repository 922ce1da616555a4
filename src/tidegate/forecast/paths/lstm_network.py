"""The LSTM with numpy alone: a step of the recurrent part, and quantiles at any time ahead.

A quantile is a mixture of anchors that are known now (the last sample, averages, yesterday's and the
usual value at that time of day, quantiles of the last hours, day and week) plus a shift and steps from
level to level, in scales of the series. Weights of the mixture, shift and steps are what the network
says; as each anchor rises with the level and no step is negative, so do the quantiles.
Sources: Hochreiter & Schmidhuber 1997; multi-horizon quantile decoder: Wen et al. 2017, arXiv 1711.11053.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tidegate.forecast.paths import lstm_memory as memory_of
from tidegate.forecast.paths.lstm_memory import AHEAD, DAY_SECONDS, INPUTS, LEVELS, STANDING
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tidegate.forecast.paths.lstm_memory import Memory

HIDDEN: Final = 48
"""Cells of the recurrent part."""
DECODER: Final = 64
"""Width of the layer between the recurrent part and the outputs."""
KNOT_SECONDS: Final = (300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 57600, 86400)
"""Horizons that have an embedding of their own; between them it is interpolated, in log time."""
CONSTANT_ANCHORS: Final = 7
"""Last sample; average of an hour, of six; yesterday's, usual, smoothed usual value; the last of them plus
how far the series is off it."""
LADDER_ANCHORS: Final = 3
"""Quantiles of the last two hours, of the day, of the week's days."""
ANCHORS: Final = CONSTANT_ANCHORS + LADDER_ANCHORS
OUTPUTS: Final = ANCHORS + LEVELS
"""For each time ahead: a weight per anchor, a shift of the median, a step between each two levels."""
MEDIAN: Final = 4
"""Index of the median in `PATH_LEVELS`."""
SERIES_AT_ONCE: Final = 64
"""How many series are decoded at once: what is in between stays in the cache."""

SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "gates": (4 * HIDDEN, HIDDEN + INPUTS),
    "gates_bias": (4 * HIDDEN,),
    "decoder_standing": (DECODER, HIDDEN + STANDING),
    "decoder_ahead": (DECODER, AHEAD),
    "decoder_knots": (DECODER, len(KNOT_SECONDS)),
    "outputs": (OUTPUTS, DECODER),
    "outputs_bias": (OUTPUTS,),
}
"""The weights, by name. Rows of ``gates``: input, forget and output gate, then the candidate; columns:
what the cells said before, then what is seen of the sample."""

Weights = dict[str, "NDArray[np.float32]"]


class Recurrent(NamedTuple):
    """The state of the recurrent part."""

    cell: NDArray[np.float32]
    """(HIDDEN, series)."""
    said: NDArray[np.float32]
    """(HIDDEN, series)."""


def at_rest(series: int) -> Recurrent:
    """Return the recurrent state before any sample."""
    return Recurrent(
        cell=np.zeros((HIDDEN, series), dtype=np.float32), said=np.zeros((HIDDEN, series), dtype=np.float32)
    )


def step_recurrent(weights: Weights, state: Recurrent, seen: NDArray[np.float32]) -> Recurrent:
    """Return the state after a step that saw ``seen`` (INPUTS, series).

    One product for all gates; a sigmoid is a tanh of half its argument, so that one tanh does them all.
    """
    gates = weights["gates"] @ np.concatenate((state.said, seen))
    gates += weights["gates_bias"][:, None]
    gates[: 3 * HIDDEN] *= np.float32(0.5)
    np.tanh(gates, out=gates)
    gates[: 3 * HIDDEN] += np.float32(1)
    gates[: 3 * HIDDEN] *= np.float32(0.5)
    admit, keep, tell, candidate = gates.reshape(4, HIDDEN, -1)
    cell = keep * state.cell
    admit *= candidate
    cell += admit
    return Recurrent(cell=cell, said=tell * np.tanh(cell))


def knots_of(seconds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of each knot's embedding horizons (times,) get, (knots, times); each sums to one."""
    knots = np.log(np.array(KNOT_SECONDS, dtype=np.float32))
    at = np.interp(np.log(seconds), knots, np.arange(knots.size))
    apart = np.abs(at[None] - np.arange(knots.size)[:, None])
    return np.maximum(1 - apart, 0).astype(np.float32)


def ladder_of_steps() -> NDArray[np.float32]:
    """Return the matrix (LEVELS, LEVELS) that makes distances of the levels from shift and steps.

    Column 0 is the shift; the others are the steps between neighbours, upward from the lowest.
    """
    level, step = np.arange(LEVELS)[:, None], np.arange(LEVELS - 1)[None]
    up = ((step >= MEDIAN) & (step < level)).astype(np.float32)
    down = ((step < MEDIAN) & (step >= level)).astype(np.float32)
    return np.concatenate((np.ones((LEVELS, 1), dtype=np.float32), up - down), axis=1)


class Seen(NamedTuple):
    """Everything the outputs are made of beside the recurrent state."""

    standing: NDArray[np.float32]
    """(STANDING, series)."""
    ahead: NDArray[np.float32]
    """(AHEAD, times, series)."""
    knots: NDArray[np.float32]
    """(knots, times)."""
    constants: NDArray[np.float32]
    """(CONSTANT_ANCHORS, times, series) in shares."""
    ladders: NDArray[np.float32]
    """(LADDER_ANCHORS, levels, series) in shares."""
    scale: NDArray[np.float32]
    """(series,) in shares."""


def look(memory: Memory, steps: NDArray[np.intp]) -> Seen:
    """Return what is seen now for times ``steps`` (times,) ahead, the next sample being 1."""
    known = memory_of.averages(memory)
    recent, day = memory_of.recent_quantiles(memory), memory_of.day_quantiles(memory)
    week = np.where(np.isnan(memory.week_quantiles), day, memory.week_quantiles)
    values, seen_of = memory_of.ahead(memory, steps)
    constants = np.empty((CONSTANT_ANCHORS, *values.shape[1:]), dtype=np.float32)
    constants[0] = memory.last
    constants[1], constants[2] = known[memory_of.HOUR], known[memory_of.QUARTER]
    constants[3:6] = values
    constants[6] = values[2] + known[memory_of.OFF]
    # Beyond a day, what is seen of a time ahead is that of the same time in the coming day.
    seconds = np.minimum(steps * memory.step_seconds, DAY_SECONDS).astype(np.float32)
    return Seen(
        standing=memory_of.standing(memory, recent, day, week),
        ahead=seen_of,
        knots=knots_of(seconds),
        constants=constants,
        ladders=np.stack((recent, day, week)),
        scale=memory_of.scale(known),
    )


def decode(weights: Weights, said: NDArray[np.float32], seen: Seen) -> NDArray[np.float32]:
    """Return quantiles (levels, times, series), not yet clipped; the cells ``said`` (HIDDEN, series)."""
    times, series = seen.ahead.shape[1:]
    always = weights["decoder_standing"] @ np.concatenate((said, seen.standing))
    middle = (weights["decoder_ahead"] @ seen.ahead.reshape(AHEAD, -1)).reshape(DECODER, times, series)
    middle += always[:, None]
    middle += (weights["decoder_knots"] @ seen.knots)[:, :, None]
    np.maximum(middle, 0, out=middle)
    out = weights["outputs"] @ middle.reshape(DECODER, -1)
    out += weights["outputs_bias"][:, None]
    out = out.reshape(OUTPUTS, times, series)
    shares = out[:ANCHORS]
    shares -= shares.max(axis=0)
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=0)
    steps = out[ANCHORS + 1 :]
    np.logaddexp(steps, 0, out=steps)
    moves = (ladder_of_steps() @ out[ANCHORS:].reshape(LEVELS, -1)).reshape(LEVELS, times, series)
    moves *= seen.scale
    moves += (shares[:CONSTANT_ANCHORS] * seen.constants).sum(axis=0)
    for share, ladder in zip(shares[CONSTANT_ANCHORS:], seen.ladders, strict=True):
        moves += share * ladder[:, None]
    return moves


def quantiles(
    weights: Weights, memory: Memory, recurrent: Recurrent, steps: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return quantiles (levels, times, series) in 0..1; of a series nothing is known of, 0 to 1 evenly."""
    seen = look(memory, steps)
    found = np.empty((LEVELS, *seen.ahead.shape[1:]), dtype=np.float32)
    for start in range(0, found.shape[2], SERIES_AT_ONCE):
        some = slice(start, start + SERIES_AT_ONCE)
        part = Seen(
            standing=seen.standing[:, some],
            ahead=seen.ahead[:, :, some],
            knots=seen.knots,
            constants=seen.constants[:, :, some],
            ladders=seen.ladders[:, :, some],
            scale=seen.scale[some],
        )
        found[:, :, some] = decode(weights, recurrent.said[:, some], part)
    np.clip(found, 0, 1, out=found)
    np.maximum.accumulate(found, axis=0, out=found)  # what rounding may have crossed
    found[:, :, ~memory_of.seen(memory)] = PATH_LEVELS[:, None, None]
    return found


def first_weights(random: np.random.Generator) -> Weights:
    """Draw the weights that training starts from: it starts near an even mixture of the anchors."""
    drawn = {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        if len(shape) > 1
        else np.zeros(shape, dtype=np.float32)
        for name, shape in SHAPES.items()
    }
    drawn["gates_bias"][HIDDEN : 2 * HIDDEN] = 1  # remember at first: Jozefowicz et al. 2015
    drawn["outputs"] *= np.float32(0.1)
    drawn["outputs_bias"][ANCHORS + 1 :] = -3  # steps of a twentieth of the series' scale
    return drawn


def checked(state: Mapping[str, NDArray[Any]]) -> Weights:
    """Return the weights of a stored state.

    Raises:
        InputError: one is missing, is not of its shape, or is not a number.

    """
    for name, shape in SHAPES.items():
        found = state.get(name)
        if found is None or found.shape != shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise InputError(
                f"the stored LSTM's '{name}' is missing or not {shape} finite numbers; train it anew"
            )
    return {name: np.array(state[name], dtype=np.float32) for name in SHAPES}
