"""Training of the LSTM, in JAX: windows of a panel, the pinball loss, and when to stop.

The recurrent part and the outputs are written here once more, so that they can be differentiated; all
they see comes from the numpy code that serves. The whole loop over minibatches is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tidegate.forecast.paths.lstm_lessons import NEAR, STRIDE, lessons_of
from tidegate.forecast.paths.lstm_memory import DAY_SECONDS, INPUTS
from tidegate.forecast.paths.lstm_network import (
    ANCHORS,
    CONSTANT_ANCHORS,
    HIDDEN,
    first_weights,
    ladder_of_steps,
)
from tidegate.model.errors import InputError
from tidegate.model.paths import PATH_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jax import Array
    from numpy.typing import NDArray

    from tidegate.forecast.paths.lstm_network import Weights
    from tidegate.model.panel import Panel

WARM_BLOCKS: Final = 12
"""Strides a window only reads, before the first it is asked for: the context that serving reads, too."""
ASKED_BLOCKS: Final = 12
"""Strides a window is asked after."""
WINDOW: Final = WARM_BLOCKS + ASKED_BLOCKS
JUDGED_AT_ONCE: Final = 256
"""Windows of the days kept back that are judged at once."""
JUDGED_MAX: Final = 8
"""Most batches of windows that the loss on the days kept back is a mean over."""
ASKED: Final = ("standing", "ahead", "constants", "ladders", "ladder", "scale", "targets")
SEEN: Final = (*ASKED, "inputs", "knots", "weight")
"""Fields of `Lessons` that training reads, and those of the times it is asked at."""
RATE: Final = 2e-3
RATE_LAST: Final = 0.02
"""The rate falls along a cosine to this share of the first."""
DECAY: Final = 0.05
"""Weight decay (AdamW: Loshchilov & Hutter 2019)."""
CLIP: Final = 1.0
"""Largest norm of a gradient."""
HIDE: Final = 0.15
"""Share of what is seen that is hidden from a window while training, the same for all of it, so that a
series is not known by heart (dropout: Srivastava et al. 2014; one mask a sequence: Gal & Ghahramani 2016)."""
FOLLOW: Final = 0.99
"""The weights that are kept are a running mean over about a hundred minibatches (Polyak averaging)."""
KEPT_BACK: Final = 0.15
"""Share of the panel's end, at most two days, that decides when to stop."""
STEPS_MIN: Final = int((WINDOW + 3) * STRIDE / (1 - KEPT_BACK))
"""Steps of history that hold a window to learn from and some to keep back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How much is trained, at most."""

    batch: int = 64
    """Windows per minibatch."""
    round: int = 100
    """Minibatches between two looks at the days kept back."""
    rounds_max: int = 24
    """After so many it ends, whatever they brought."""
    patience: int = 12
    """Rounds without a better result after which training stops."""


WHOLE: Final = Schedule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far training is."""

    round: int
    rounds_max: int
    loss: float
    """On the days kept back; the smaller the better."""


def train(
    panel: Panel, *, seed: int, schedule: Schedule, progress: Callable[[Progress], None] | None = None
) -> Weights:
    """Return the weights of a network trained on a panel; the same seed and panel give the same.

    Raises:
        InputError: the panel is empty, or too short to learn from and to keep some back.

    """
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(seed)
    if not panel.names:
        raise InputError("an LSTM learns from one series or more, and the panel has none")
    lessons = lessons_of(panel, random)
    blocks, _, series, _ = lessons.inputs.shape
    back = max(2, min(int(blocks * KEPT_BACK), 2 * DAY_SECONDS // (panel.step_seconds * STRIDE)))
    starts_max = blocks - back - WINDOW
    if starts_max < 1:
        raise InputError(f"an LSTM learns from {STEPS_MIN} steps of history or more, not {panel.steps}")
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
            when, who, what = jax.random.split(key, 3)
            starts = jax.random.randint(when, (schedule.batch,), 0, starts_max)
            chosen = jax.random.randint(who, (schedule.batch,), 0, series)
            slope = jax.grad(_loss)(state["weights"], data, starts, chosen, what)
            moves, memory = optimiser.update(slope, state["optimiser"], state["weights"])
            weights = optax.apply_updates(state["weights"], moves)
            mean = jax.tree.map(lambda old, new: FOLLOW * old + (1 - FOLLOW) * new, state["mean"], weights)
            return {"weights": weights, "mean": mean, "optimiser": memory}, None

        return jax.lax.scan(one, state, jax.random.split(key, schedule.round))[0]

    return _Compiled(learn=jax.jit(learn), judge=jax.jit(_loss), begin=begin)


def _loss(
    weights: Mapping[str, Array],
    data: Mapping[str, Array],
    starts: Array,
    chosen: Array,
    hiding: Array | None = None,
) -> Array:
    """Return the pinball loss of a batch of windows (batch,), near and far horizons counting the same.

    With a key ``hiding``, a part of what is seen is hidden.
    """
    import jax.numpy as jnp

    rows = starts[:, None] + jnp.arange(WINDOW)

    def asked(name: str) -> Array:
        return data[name][rows[:, WARM_BLOCKS:], chosen[:, None]]

    inputs = data["inputs"][rows, :, chosen[:, None]]  # (batch, blocks, STRIDE, INPUTS)
    inputs = inputs.reshape(starts.size, WINDOW * STRIDE, INPUTS)
    said = recurrent(weights, _hidden(inputs, hiding, 0))
    said = said[:, STRIDE - 1 :: STRIDE][:, WARM_BLOCKS:]
    seen = {name: asked(name) for name in ASKED}
    seen["knots"] = data["knots"][rows[:, WARM_BLOCKS:]]
    seen["standing"] = _hidden(seen["standing"], hiding, 1)
    seen["ahead"] = _hidden(seen["ahead"], hiding, 2)
    found = decoded(weights, _hidden(said, hiding, 3), seen)
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


def _hidden(values: Array, hiding: Array | None, which: int) -> Array:
    """Return values (batch, ..., numbers) with some numbers zero for each window, and the others larger."""
    if hiding is None:
        return values
    import jax
    import jax.numpy as jnp

    key = jax.random.fold_in(hiding, which)
    kept = jax.random.bernoulli(key, 1 - HIDE, (values.shape[0], values.shape[-1]))
    mask = kept.reshape(values.shape[0], *([1] * (values.ndim - 2)), -1)
    return jnp.where(mask, values / (1 - HIDE), 0)


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
    middle = jax.nn.relu(middle + always[..., None, :]) @ weights["middle"].T + weights["middle_bias"]
    out = jax.nn.relu(middle) @ weights["outputs"].T + weights["outputs_bias"]
    shares = jax.nn.softmax(out[..., :ANCHORS], axis=-1)
    shift, steps = out[..., ANCHORS : ANCHORS + 1], jax.nn.softplus(out[..., ANCHORS + 1 :])
    moves = jnp.concatenate((shift, steps), axis=-1)
    found = moves @ ladder_of_steps().T * seen["scale"][..., None, None]
    found += (shares[..., :CONSTANT_ANCHORS] * seen["constants"]).sum(axis=-1, keepdims=True)
    found += shares[..., CONSTANT_ANCHORS:-1] @ seen["ladders"]
    return found + shares[..., -1:] * seen["ladder"]
