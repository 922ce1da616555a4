"""Training of the LSTM, in JAX: windows of a panel, the pinball loss, and when to stop.

What the network sees is made by the same numpy code that serves it (`lstm_memory`, `lstm_network`), in
one pass over the panel; only the recurrent part and the outputs are written here once more, so that they
can be differentiated. The whole loop over minibatches is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tidegate.forecast.paths import lstm_memory as memory_of
from tidegate.forecast.paths.lstm_memory import AHEAD, DAY_SECONDS, HOUR_SECONDS, INPUTS, LEVELS, STANDING
from tidegate.forecast.paths.lstm_network import (
    ANCHORS,
    CONSTANT_ANCHORS,
    HIDDEN,
    KNOT_SECONDS,
    LADDER_ANCHORS,
    first_weights,
    ladder_of_steps,
    look,
)
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jax import Array
    from numpy.typing import NDArray

    from tidegate.forecast.paths.lstm_network import Weights
    from tidegate.model.panel import Panel

STRIDE: Final = 8
"""Every how many steps a window is asked for quantiles: neighbours say nearly the same."""
WARM_BLOCKS: Final = 12
"""Strides a window only reads, before the first it is asked for: the context that serving reads, too."""
ASKED_BLOCKS: Final = 12
"""Strides a window is asked after."""
WINDOW: Final = WARM_BLOCKS + ASKED_BLOCKS
_STEPS_MIN: Final = int((WINDOW + 3) * STRIDE / 0.85)
JUDGED_AT_ONCE: Final = 256
JUDGED_MAX: Final = 8
"""Most batches of windows that the loss on the days kept back is a mean over."""
SEEN: Final = ("inputs", "standing", "ahead", "knots", "constants", "ladders", "scale", "targets", "weight")
RATE: Final = 2e-3
RATE_LAST: Final = 0.02
"""The rate falls along a cosine to this share of the first."""
DECAY: Final = 1e-3
"""Weight decay (AdamW: Loshchilov & Hutter 2019)."""
CLIP: Final = 1.0
"""Largest norm of a gradient."""
FOLLOW: Final = 0.99
"""The weights that are kept are a running mean over about a hundred minibatches (Polyak averaging)."""
NEAR, FAR = 4, 8
"""How many times ahead a window is asked for within an hour, and beyond it up to a day."""
CELLS_MAX: Final = 2_500_000
"""Most samples learned from; of more, the last steps of some series are taken: 1 GB of what is seen."""
SERIES_MIN: Final = 64
"""Series that are kept however long the histories are."""
KEPT_BACK: Final = 0.15
"""Share of the panel's end, at most two days, that decides when to stop."""
SCALED: Final = 1.5
"""Weight of the loss in scales of each series, beside the loss in shares of capacity."""
WEIGHT_MIN, WEIGHT_MAX = 0.5, 3.0
"""Bounds of a series' weight: the root of its capacity over the mean of the roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How much is trained, at most."""

    batch: int = 64
    """Windows per minibatch."""
    round: int = 100
    """Minibatches between two looks at the days kept back."""
    rounds_max: int = 24
    """After so many it ends, whatever they brought."""
    patience: int = 6
    """Rounds without a better result after which training stops."""


WHOLE: Final = Schedule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far training is."""

    round: int
    rounds_max: int
    loss: float
    """On the days kept back; the smaller the better."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """A panel as the network sees it; blocks are `STRIDE` steps long, and a window is asked at their ends."""

    inputs: NDArray[np.float32]
    """(blocks, STRIDE, series, INPUTS)."""
    standing: NDArray[np.float32]
    """(blocks, series, STANDING)."""
    ahead: NDArray[np.float32]
    """(blocks, series, times, AHEAD)."""
    knots: NDArray[np.float32]
    """(blocks, times, knots)."""
    constants: NDArray[np.float32]
    """(blocks, series, times, CONSTANT_ANCHORS)."""
    ladders: NDArray[np.float32]
    """(blocks, series, LADDER_ANCHORS, LEVELS)."""
    scale: NDArray[np.float32]
    """(blocks, series)."""
    targets: NDArray[np.float32]
    """(blocks, series, times) what came; NaN where missing."""
    steps: NDArray[np.intp]
    """(blocks, times) the times ahead, in steps."""
    weight: NDArray[np.float32]
    """(series, 2) of a miss in shares, and in scales of the series."""


def lessons_of(panel: Panel, random: np.random.Generator) -> Lessons:
    """Read a panel once, as serving would, and note what was seen and what came."""
    panel = _bounded(panel, random)
    blocks, series = panel.steps // STRIDE, len(panel.names)
    skipped = panel.steps - blocks * STRIDE
    times = NEAR + FAR
    shares = np.concatenate((panel.shares, np.full((_day(panel), series), np.nan, dtype=np.float32)))
    memory = memory_of.fresh(series, step_seconds=panel.step_seconds, end_seconds=panel.start_seconds)
    for step in range(skipped):
        memory_of.advance(memory, shares[step])
    found = Lessons(
        inputs=np.empty((blocks, STRIDE, series, INPUTS), dtype=np.float32),
        standing=np.empty((blocks, series, STANDING), dtype=np.float32),
        ahead=np.empty((blocks, series, times, AHEAD), dtype=np.float32),
        knots=np.empty((blocks, times, len(KNOT_SECONDS)), dtype=np.float32),
        constants=np.empty((blocks, series, times, CONSTANT_ANCHORS), dtype=np.float32),
        ladders=np.empty((blocks, series, LADDER_ANCHORS, LEVELS), dtype=np.float32),
        scale=np.empty((blocks, series), dtype=np.float32),
        targets=np.empty((blocks, series, times), dtype=np.float32),
        steps=np.empty((blocks, times), dtype=np.intp),
        weight=_weights_of(panel),
    )
    for block in range(blocks):
        first = skipped + block * STRIDE
        for at in range(STRIDE):
            memory_of.advance(memory, shares[first + at])
            found.inputs[block, at] = memory_of.inputs(memory).T
        steps = _times_ahead(panel, random)
        seen = look(memory, steps)
        found.standing[block] = seen.standing.T
        found.ahead[block] = seen.ahead.transpose(2, 1, 0)
        found.knots[block] = seen.knots.T
        found.constants[block] = seen.constants.transpose(2, 1, 0)
        found.ladders[block] = seen.ladders.transpose(2, 0, 1)
        found.scale[block], found.steps[block] = seen.scale, steps
        found.targets[block] = np.where(memory_of.seen(memory), shares[first + STRIDE - 1 + steps], np.nan).T
    return found


def _bounded(panel: Panel, random: np.random.Generator) -> Panel:
    """Return the panel, or the last steps of some of its series, with at most `CELLS_MAX` samples."""
    series = len(panel.names)
    kept = max(min(series, CELLS_MAX // max(panel.steps, 1)), min(series, SERIES_MIN))
    if kept < series:
        panel = panel.of(np.sort(random.choice(series, kept, replace=False)))
    steps = min(panel.steps, CELLS_MAX // max(kept, 1))
    start = panel.start_seconds + (panel.steps - steps) * panel.step_seconds
    return replace(panel, shares=panel.shares[panel.steps - steps :], start_seconds=start)


def _day(panel: Panel) -> int:
    return max(1, round(DAY_SECONDS / panel.step_seconds))


def _times_ahead(panel: Panel, random: np.random.Generator) -> NDArray[np.intp]:
    """Draw times ahead, in steps: some within the hour, the others spread evenly over the day."""
    day, hour = _day(panel), max(1, HOUR_SECONDS // panel.step_seconds)
    near = 1 + (np.arange(NEAR) + random.random(NEAR)) / NEAR * hour
    far = 1 + (np.arange(FAR) + random.random(FAR)) / FAR * day
    return np.clip(np.concatenate((near, far)).astype(np.intp), 1, day)


def _weights_of(panel: Panel) -> NDArray[np.float32]:
    """Return what a miss of each series weighs, in shares and in its own scale."""
    roots = np.sqrt(np.maximum(np.nan_to_num(panel.capacity), 0))
    size = np.clip(roots / max(float(roots.mean()), 1e-9), WEIGHT_MIN, WEIGHT_MAX)
    day = _day(panel)
    shares = panel.shares
    with np.errstate(invalid="ignore"):
        apart = (
            np.abs(shares[day:] - shares[:-day]) if panel.steps > day else np.abs(shares[1:] - shares[:-1])
        )
    counts = np.maximum((~np.isnan(apart)).sum(axis=0), 1)
    naive = np.nansum(apart, axis=0) / counts
    mean = float(np.nanmean(naive)) if naive.size else 1.0
    own = 1 / np.maximum(naive, 0.002)
    pooled = np.full(naive.shape, 1 / max(mean, 0.002))
    return np.stack((size * pooled, SCALED * own), axis=1).astype(np.float32)


def train(
    panel: Panel, *, seed: int, schedule: Schedule, progress: Callable[[Progress], None] | None = None
) -> Weights:
    """Return the weights of a network trained on a panel; the same seed and panel give the same.

    Raises:
        InputError: the panel is too short to learn from and to keep some back.

    """
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(seed)
    lessons = lessons_of(panel, random)
    blocks, _, series, _ = lessons.inputs.shape
    back = max(2, min(int(blocks * KEPT_BACK), 2 * DAY_SECONDS // (panel.step_seconds * STRIDE)))
    starts_max = blocks - back - WINDOW
    if starts_max < 1:
        raise InputError(f"an LSTM learns from {_STEPS_MIN} steps of history or more, not {panel.steps}")
    ends = np.arange(1, blocks + 1)[:, None] * STRIDE + lessons.steps
    unseen = (ends > (blocks - back) * STRIDE)[:, None, :]
    whole = {name: jnp.asarray(getattr(lessons, name)) for name in SEEN}
    kept = whole | {"targets": jnp.asarray(np.where(unseen, np.nan, lessons.targets))}
    judged = _windows_to_judge(blocks, back, series, random)
    compiled = _compiled(schedule)
    state = compiled.begin(first_weights(random))
    best, best_loss, since = state["mean"], np.inf, 0
    key = jax.random.key(seed)
    for at in range(schedule.rounds_max):
        key, drawn = jax.random.split(key)
        state = compiled.learn(state, kept, drawn, starts_max)
        loss = float(
            np.mean([compiled.judge(state["mean"], whole, starts, chosen) for starts, chosen in judged])
        )
        if progress is not None:
            progress(Progress(round=at + 1, rounds_max=schedule.rounds_max, loss=loss))
        best, best_loss, since = (
            (state["mean"], loss, 0) if loss < best_loss else (best, best_loss, since + 1)
        )
        if since >= schedule.patience:
            break
    return {name: np.array(array, dtype=np.float32) for name, array in best.items()}


def _windows_to_judge(
    blocks: int, back: int, series: int, random: np.random.Generator
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return batches of windows (start, series) that are asked only about the blocks kept back."""
    first = blocks - back - WARM_BLOCKS
    starts = np.arange(first, max(blocks - WINDOW, first) + 1, ASKED_BLOCKS)
    starts = np.minimum(starts, blocks - WINDOW)
    pairs = np.array(np.meshgrid(starts, np.arange(series))).reshape(2, -1)
    count = min(-(-pairs.shape[1] // JUDGED_AT_ONCE), JUDGED_MAX) * JUDGED_AT_ONCE
    order = np.resize(random.permutation(pairs.shape[1]), count)
    return [(pairs[0, some], pairs[1, some]) for some in order.reshape(-1, JUDGED_AT_ONCE)]


class _Compiled(NamedTuple):
    learn: Callable[..., dict[str, Any]]
    """One round of minibatches, from the state, the data, a key and the first start that is too late."""
    judge: Callable[..., Array]
    """The loss of a batch of windows."""
    begin: Callable[[Weights], dict[str, Any]]
    """Makes the first state: weights, their running mean, what the optimiser remembers."""


@cache
def _compiled(schedule: Schedule) -> _Compiled:
    import jax
    import optax

    rate = optax.cosine_decay_schedule(RATE, schedule.round * schedule.rounds_max, alpha=RATE_LAST)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(rate, weight_decay=DECAY))

    def begin(weights: Weights) -> dict[str, Any]:
        return {"weights": weights, "mean": weights, "optimiser": optimiser.init(weights)}

    def learn(
        state: dict[str, Any], data: Mapping[str, Array], key: Array, starts_max: Array
    ) -> dict[str, Any]:
        series = data["weight"].shape[0]

        def one(state: dict[str, Any], key: Array) -> tuple[dict[str, Any], None]:
            when, who = jax.random.split(key)
            starts = jax.random.randint(when, (schedule.batch,), 0, starts_max)
            chosen = jax.random.randint(who, (schedule.batch,), 0, series)
            slope = jax.grad(_loss)(state["weights"], data, starts, chosen)
            moves, memory = optimiser.update(slope, state["optimiser"], state["weights"])
            weights = optax.apply_updates(state["weights"], moves)
            mean = jax.tree.map(lambda old, new: FOLLOW * old + (1 - FOLLOW) * new, state["mean"], weights)
            return {"weights": weights, "mean": mean, "optimiser": memory}, None

        return jax.lax.scan(one, state, jax.random.split(key, schedule.round))[0]

    return _Compiled(learn=jax.jit(learn), judge=jax.jit(_loss), begin=begin)


def _loss(weights: Mapping[str, Array], data: Mapping[str, Array], starts: Array, chosen: Array) -> Array:
    """Return the pinball loss of a batch of windows (batch,), near and far horizons counting the same."""
    import jax.numpy as jnp

    rows = starts[:, None] + jnp.arange(WINDOW)

    def asked(name: str) -> Array:
        return data[name][rows[:, WARM_BLOCKS:], chosen[:, None]]

    inputs = data["inputs"][rows, :, chosen[:, None]]  # (batch, blocks, STRIDE, INPUTS)
    said = recurrent(weights, inputs.reshape(starts.size, WINDOW * STRIDE, INPUTS))
    said = said[:, STRIDE - 1 :: STRIDE][:, WARM_BLOCKS:]
    seen = {name: asked(name) for name in ("standing", "ahead", "constants", "ladders", "scale", "targets")}
    seen["knots"] = data["knots"][rows[:, WARM_BLOCKS:]]
    found = decoded(weights, said, seen)
    over = seen["targets"][..., None] - found
    counts = ~jnp.isnan(over)
    over = jnp.where(counts, over, 0)
    levels = jnp.asarray(PATH_LEVELS)
    pinball = jnp.maximum(levels * over, (levels - 1) * over)
    pinball *= data["weight"][chosen].sum(axis=-1)[:, None, None, None]
    near, far = slice(None, NEAR), slice(NEAR, None)
    return sum(
        (pinball[:, :, part].sum() / jnp.maximum(counts[:, :, part].sum(), 1) for part in (near, far)),
        start=jnp.float32(0),
    )


def recurrent(weights: Mapping[str, Array], inputs: Array) -> Array:
    """Return what the cells say after each step, (batch, steps, HIDDEN), of inputs (batch, steps, INPUTS)."""
    import jax
    import jax.numpy as jnp

    from_said, from_seen = weights["gates"][:, :HIDDEN].T, weights["gates"][:, HIDDEN:].T
    given = (inputs @ from_seen + weights["gates_bias"]).transpose(1, 0, 2)

    def one(state: tuple[Array, Array], given: Array) -> tuple[tuple[Array, Array], Array]:
        cell, said = state
        gates = given + said @ from_said
        admit, keep, tell = jnp.split(jax.nn.sigmoid(gates[:, : 3 * HIDDEN]), 3, axis=1)
        cell = keep * cell + admit * jnp.tanh(gates[:, 3 * HIDDEN :])
        said = tell * jnp.tanh(cell)
        return (cell, said), said

    rest = jnp.zeros((inputs.shape[0], HIDDEN))
    return jax.lax.scan(one, (rest, rest), given, unroll=4)[1].transpose(1, 0, 2)


def decoded(weights: Mapping[str, Array], said: Array, seen: Mapping[str, Array]) -> Array:
    """Return quantiles (..., times, LEVELS) from what the cells said (..., HIDDEN) and `Seen`, turned."""
    import jax
    import jax.numpy as jnp

    always = jnp.concatenate((said, seen["standing"]), axis=-1) @ weights["decoder_standing"].T
    middle = seen["ahead"] @ weights["decoder_ahead"].T + seen["knots"] @ weights["decoder_knots"].T
    out = jax.nn.relu(middle + always[..., None, :]) @ weights["outputs"].T + weights["outputs_bias"]
    shares = jax.nn.softmax(out[..., :ANCHORS], axis=-1)
    shift, steps = out[..., ANCHORS : ANCHORS + 1], jax.nn.softplus(out[..., ANCHORS + 1 :])
    moves = jnp.concatenate((shift, steps), axis=-1)
    found = moves @ ladder_of_steps().T * seen["scale"][..., None, None]
    found += (shares[..., :CONSTANT_ANCHORS] * seen["constants"]).sum(axis=-1, keepdims=True)
    return found + shares[..., CONSTANT_ANCHORS:] @ seen["ladders"]
