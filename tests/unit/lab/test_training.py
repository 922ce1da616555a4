"""A model learns from all but the last days, is scored on those, and is kept whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.artefacts import ModelStore, active, open_model, revived
from tidegate.app.artefacts.origin import origin
from tidegate.lab.training import Lesson, held_out_steps, scored, train
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel
from tidegate.model.paths import PATH_LEVELS, Paths
from tidegate.model.resources import Resource
from tidegate.sim.traces import generate_trace, write_trace
from tidegate.testing import ManualClock

DAY = 86_400


class Levels:
    """Says for ever what it saw on average, spread by level."""

    def __init__(self, seed=0):
        self.seed = seed
        self.level = np.full(1, np.nan, dtype=np.float32)
        self.fitted = None
        self.asked = []

    def fit(self, panel):
        self.fitted = panel
        self.level = np.nanmean(panel.shares).reshape(1).astype(np.float32)

    def paths(self, panel, horizon_steps):
        self.asked.append((panel.steps, horizon_steps))
        wanted = np.clip(self.level * (0.5 + PATH_LEVELS), 0, 1)[:, None, None]
        quantiles = np.broadcast_to(wanted, (PATH_LEVELS.size, horizon_steps, len(panel.names)))
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)

    def state(self):
        return {"level": self.level}

    def restore(self, state):
        self.level = state["level"]


class Oracle(Levels):
    """Knows what comes, at every level."""

    def __init__(self, shares):
        super().__init__()
        self.shares = shares

    def paths(self, panel, horizon_steps):
        came = self.shares[panel.steps : panel.steps + horizon_steps]
        quantiles = np.broadcast_to(came, (PATH_LEVELS.size, *came.shape))
        return Paths(end_seconds=panel.end_seconds, step_seconds=panel.step_seconds, quantiles=quantiles)


@pytest.fixture
def made(monkeypatch):
    """The plug-in 'levels', and what was made of it."""
    made = []

    class Entry:
        name = "levels"

        @staticmethod
        def load():
            return lambda seed: made.append(Levels(seed)) or made[-1]

    for module in (path_models, active):
        monkeypatch.setattr(
            module, "entry_points", lambda group: [Entry] if group == path_models.GROUP else []
        )
    return made


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models", ManualClock(1_800_000_000))


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "six-days.parquet"
    rows = generate_trace(vms=4, days=6, step_seconds=900, seed=1)
    write_trace(rows.drop("network_bytes_per_second_capacity"), path)
    return path


@pytest.fixture
def lesson(trace):
    def lesson(**changes):
        fields = {
            "name": "first", "kind": "levels", "traces": (trace,), "resource": Resource.CPU,
            "step_seconds": None, "seed": 3,
        }  # fmt: skip
        return Lesson(**{**fields, **changes})

    return lesson


def panel(days, step_seconds=3_600, series=2):
    steps = days * DAY // step_seconds
    of_day = np.arange(steps) * step_seconds % DAY / DAY
    shares = np.stack([0.3 + 0.1 * np.sin(2 * np.pi * of_day) + 0.01 * one for one in range(series)], axis=1)
    shares += np.linspace(0, 0.1, steps)[:, None]
    return Panel(
        start_seconds=0, step_seconds=step_seconds, names=tuple(map(str, range(series))),
        shares=shares.astype(np.float32), capacity=np.ones(series, dtype=np.float32),
    )  # fmt: skip


def test_a_model_is_trained_scored_and_kept(store, made, lesson):
    told = []
    card = train(lesson(notes="hello"), store, progress=lambda *what: told.append(what))
    opened = open_model(store.folder / "first")
    assert opened.card == card
    assert (card.kind, card.resource, card.step_seconds, card.seed) == ("levels", "cpu", 900, 3)
    assert (card.data.traces, card.data.series, card.notes) == (("six-days.parquet",), 4, "hello")
    assert (card.data.start, card.data.end) == ("2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z")
    assert card.created == "2027-01-15T08:00:00Z"
    assert 0 < card.data.rows <= 4 * 4 * 96
    (model,) = made
    assert model.seed == 3
    assert model.fitted.steps == 4 * 96
    assert model.asked == [
        *((steps, 4) for steps in (384, 446, 509, 572)),
        *((steps, 96) for steps in (384, 416, 448, 480)),
    ]
    assert [score.horizon_seconds for score in card.scores] == [3_600, DAY]
    assert all(0 < score.wql < 2 for score in card.scores)
    assert card.inference_seconds_per_series > 0
    assert list(dict.fromkeys(what for what, *_ in told)) == ["reading", "learning", "scoring", "storing"]
    again = revived(opened)
    assert (again.seed, again.level) == (3, model.level)


def test_nothing_it_is_scored_on_was_seen(store, made, lesson):
    train(lesson(), store)
    assert made[0].fitted.end_seconds == made[0].asked[0][0] * 900 + made[0].fitted.start_seconds


def test_an_oracle_is_without_fault_and_a_constant_is_as_computed_by_hand():
    whole = panel(6)
    seen = whole.steps - held_out_steps(whole)
    (hour, day), _ = scored(Oracle(whole.shares), whole, seen)
    for score in (hour, day):
        assert (score.wql, score.mase_median) == (0, 0)
        assert score.coverage == {"0.9": 1.0, "0.95": 1.0, "0.99": 1.0}
    assert (hour.samples, day.samples, hour.mase_left_out) == (4 * 2, 4 * 24 * 2, 0)
    model = Levels()
    model.level = np.full(1, 0.4, dtype=np.float32)
    (hour, _), _ = scored(model, whole, seen)
    loss = demand = 0.0
    covered = 0
    errors = []
    for at in (96, 111, 127, 143):
        for came in whole.shares[at].astype(float):
            demand += came
            for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
                missed = came - 0.4 * (0.5 + level)
                loss += max(level * missed, (level - 1) * missed)
            covered += came <= 0.4 * (0.5 + 0.9)
            errors.append(abs(came - 0.4))
    assert hour.wql == pytest.approx(2 * loss / (9 * demand), rel=1e-5)
    assert hour.coverage["0.9"] == pytest.approx(covered / 8)
    change = np.abs(whole.shares[24:seen] - whole.shares[: seen - 24]).mean(axis=0)
    mase = np.median([np.mean(errors[one::2]) / change[one] for one in range(2)])
    assert hour.mase_median == pytest.approx(mase, rel=1e-4)


def test_gaps_count_for_nothing_and_constant_series_are_left_out():
    whole = panel(6)
    whole.shares[-60:, 0] = np.nan
    whole.shares[:, 1] = 0.5
    (hour, day), _ = scored(Oracle(np.nan_to_num(whole.shares)), whole, whole.steps - 48)
    assert (hour.samples, day.samples) == (4, 96)
    assert (day.mase_median, day.mase_left_out, day.wql) == (None, 2, 0)
    whole.shares[:] = np.nan
    (hour, _), _ = scored(Oracle(np.zeros_like(whole.shares)), whole, whole.steps - 48)
    assert (hour.samples, hour.wql, hour.mase_median, hour.coverage) == (0, None, None, {})


@pytest.mark.parametrize(
    ("step_seconds", "horizons"),
    [(60, [3_600, DAY]), (420, [3_780, 86_520]), (7_200, [DAY]), (DAY, [DAY])],
)
def test_any_step_up_to_a_day_is_scored(step_seconds, horizons):
    whole = panel(4, step_seconds, series=1)
    seen = whole.steps - held_out_steps(whole)
    scores, _ = scored(Oracle(whole.shares), whole, seen)
    assert [score.horizon_seconds for score in scores] == horizons
    assert all(score.wql == 0 for score in scores)


@pytest.mark.parametrize(("days", "held_days"), [(3, 1), (4, 1), (5, 2), (30, 2)])
def test_a_day_or_two_are_held_out(days, held_days):
    assert held_out_steps(panel(days)) == held_days * 24


def test_what_is_refused_leaves_nothing_behind(store, made, lesson, tmp_path):
    short = tmp_path / "short.parquet"
    write_trace(generate_trace(vms=2, days=2, step_seconds=900, seed=1), short)
    for changes, said in (
        ({"traces": (short,)}, "the trace holds 2 days; training needs 3 or more"),
        ({"traces": (tmp_path / "none.parquet",)}, "does not exist"),
        ({"resource": Resource.NETWORK}, "no capacity"),
        ({"step_seconds": 2 * DAY}, "longer than a day"),
        ({"kind": "nobody"}, "unknown model 'nobody'"),
        ({"name": "a/b"}, "can't be called"),
        ({"notes": "x" * 3_000}, "notes are longer"),
    ):
        with pytest.raises(InputError, match=said):
            train(lesson(**changes), store)
    assert not store.folder.exists()
    train(lesson(), store)
    made.clear()
    with pytest.raises(InputError, match="there is a model 'first'"):
        train(lesson(), store)
    assert made == []


@pytest.mark.parametrize("at", ["reading", "learning", "scoring", "storing"])
@pytest.mark.usefixtures("made")
def test_an_interrupt_leaves_nothing_behind(store, lesson, at):
    def interrupt(what, done, total):
        if what == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(lesson(), store, progress=interrupt)
    assert not store.folder.exists()


def test_an_interrupt_while_it_is_written_leaves_no_model(store, made, lesson, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate.app.artefacts.folder.write_new", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(lesson(), store)
    assert [path.name for path in store.folder.iterdir()] == [".lock"]


def test_the_commit_is_that_of_our_own_tree_alone(tmp_path):
    (tmp_path / "src/tidegate/app").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    other = tmp_path / "src/tidegate/app/origin.py"
    assert "-" not in origin(other)
    assert origin(tmp_path / "site-packages/tidegate/app/origin.py") == origin(other)
