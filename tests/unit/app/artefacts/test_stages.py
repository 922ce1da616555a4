"""Only legal moves, at most one active, and the way back."""

from __future__ import annotations

from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.app.artefacts import Card, Data, ModelStore, Record
from tidegate.app.artefacts.record import BLOCKS_MAX, SAMPLES_MIN
from tidegate.app.artefacts.stages import HISTORY_MAX, LEGAL, Cause, Life, Move, Stage, moved, waiting_for
from tidegate.model.errors import InputError
from tidegate.testing import ManualClock


def alive(stage):
    made = Move(at="0", came_from=None, to=stage, cause=Cause.MADE, why="")
    return Life(name="x", weights_sha256="s", kind="k", resource="cpu", stage=stage, history=(made,))


@pytest.mark.parametrize(("come", "to"), list(product(Stage, Stage)))
def test_only_legal_moves_are_made(come, to):
    cause = Cause.RESTORED if (come, to) == (Stage.RETIRED, Stage.ACTIVE) else Cause.PROMOTED
    if (come, to) in LEGAL:
        after = moved(alive(come), to, cause, at="1", why="w")
        assert (after.stage, after.history[-1].came_from, after.history[-1].to) == (to, come, to)
    else:
        with pytest.raises(InputError, match=f"is {come} and can't become {to}"):
            moved(alive(come), to, cause, at="1", why="w")


def test_a_retired_model_becomes_active_by_a_rollback_alone():
    with pytest.raises(InputError, match="is retired"):
        moved(alive(Stage.RETIRED), Stage.ACTIVE, Cause.PROMOTED, at="1", why="w")


def test_the_history_is_bounded():
    life = alive(Stage.ACTIVE)
    for at in range(HISTORY_MAX):
        life = moved(life, Stage.RETIRED, Cause.REPLACED, at=f"{at}", why="", other="y")
        life = moved(life, Stage.ACTIVE, Cause.RESTORED, at=f"{at}", why="", other="z")
    assert (len(life.history), life.came_after) == (HISTORY_MAX, "z")


def test_only_who_gave_way_to_it_waits_for_it():
    one = msgspec.structs.replace(alive(Stage.ACTIVE), name="one")
    two = moved(msgspec.structs.replace(alive(Stage.SHADOW), name="two"), Stage.ACTIVE, Cause.PROMOTED,
                at="1", why="", other="one")  # fmt: skip
    for cause, other, waits in (
        (Cause.REPLACED, "two", True),
        (Cause.REPLACED, "three", False),
        (Cause.ROLLED_BACK, "two", False),
        (Cause.RETIRED, None, False),
    ):
        gone = moved(one, Stage.RETIRED, cause, at="1", why="", other=other)
        assert waiting_for(two, {"one": gone, "two": two}) == (gone if waits else None)
    assert waiting_for(two, {"two": two}) is None


def test_the_way_to_active_and_what_is_written_down(store, add, stage, activate):
    add("one")
    assert stage("one") == "candidate"
    assert store.promote("one").life.stage == "shadow"
    with pytest.raises(InputError, match="stays in shadow: there is no record"):
        store.promote("one")
    add("two")
    activate("two")
    life = store.held()[1].life
    assert [(move.at, move.to, move.cause) for move in life.history] == [
        ("2024-01-01T00:02:00Z", "candidate", "made"),
        ("2024-01-01T00:02:00Z", "shadow", "promoted"),
        ("2024-01-01T00:03:00Z", "active", "promoted"),
    ]
    assert (
        life.history[-1].why == "its loss is 0.800 times that of what decides without it over 4,000 samples"
    )


def test_a_better_one_replaces_and_a_rollback_restores_exactly(store, add, stage, activate):
    for name in ("one", "two", "three"):
        add(name)
    activate("one")
    before = {p.name: p.read_bytes() for p in (store.folder / "one").iterdir() if p.name != "stage.json"}
    came = activate("two")
    assert (came.other.name, came.other.stage) == ("one", "retired")
    assert [stage(name) for name in ("one", "two", "three")] == ["retired", "active", "candidate"]
    back = store.rollback("two")
    assert (back.life.name, back.other.name) == ("two", "one")
    assert [stage(name) for name in ("one", "two")] == ["active", "retired"]
    assert before == {p.name: p.read_bytes() for p in (store.folder / "one").iterdir() if p.name in before}
    with pytest.raises(InputError, match="no model waits to come back"):
        store.rollback("one")
    activate("three")
    assert [stage(name) for name in ("one", "two", "three")] == ["retired", "retired", "active"]


def test_rolling_back_goes_as_far_back_as_there_was_somebody(store, add, stage, activate):
    for name in ("one", "two", "three"):
        add(name)
        activate(name)
    store.rollback("three")
    assert stage("two") == "active"
    store.rollback("two")
    assert [stage(name) for name in ("one", "two", "three")] == ["active", "retired", "retired"]
    with pytest.raises(InputError, match="no model waits"):
        store.rollback("one")


def test_other_kinds_and_resources_are_left_alone(store, add, stage, activate):
    add("one")
    add("two", resource="memory")
    add("three", kind="other")
    for name in ("one", "two", "three"):
        assert activate(name).other is None
    assert [stage(name) for name in ("one", "two", "three")] == ["active"] * 3


def test_what_is_refused_changes_nothing(store, add, stage, activate):
    for name in ("one", "two"):
        add(name)
        activate(name)
    for refused, said in (
        (lambda: store.promote("two"), "is active already"),
        (lambda: store.promote("one"), "is retired and stays so"),
        (lambda: store.retire("one"), "is retired and can't become retired"),
        (lambda: store.rollback("one"), "only an active one"),
        (lambda: store.promote("none"), "there is no model 'none'"),
        (lambda: store.promote("../one"), "can't be called"),
    ):
        with pytest.raises(InputError, match=said):
            refused()
    assert (stage("one"), stage("two")) == ("retired", "active")


def test_who_was_retired_by_hand_does_not_come_back(store, add, stage, activate):
    for name in ("one", "two"):
        add(name)
        activate(name)
    store.retire("two")
    assert (stage("one"), stage("two")) == ("retired", "retired")
    with pytest.raises(InputError, match="only an active one"):
        store.rollback("two")


def test_a_damaged_model_is_neither_promoted_nor_brought_back(store, add, stage, activate):
    for name in ("one", "two", "three"):
        add(name)
    activate("one")
    activate("two")
    for name in ("one", "three"):
        path = store.folder / name / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="altered or cut short"):
        store.promote("three")
    with pytest.raises(InputError, match="altered or cut short"):
        store.rollback("two")
    assert [stage(name) for name in ("one", "two", "three")] == ["retired", "active", "candidate"]


def test_nobody_becomes_active_while_the_active_one_may_be_unreadable(store, add, earn, activate):
    add("one")
    add("two")
    activate("one")
    store.promote("two")
    earn("two")
    (store.folder / "one/stage.json").write_bytes(b"")
    with pytest.raises(InputError, match="'one' may be active, and can't be read"):
        store.promote("two")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"samples": SAMPLES_MIN - 1}, "1,999 samples in shadow are too few"),
        ({"ratio": 0.991}, "must be 0.99 or less"),
        ({"active_loss_sum": 0.0}, "made no error"),
        ({"against": "somebody"}, "is against 'somebody', which is not what is active now"),
        ({"against_sha256": "0" * 64}, "which is not what is active now"),
        ({"blocks": [(8.0, 10.0)] * 7}, "7 blocks in shadow are too few"),
        ({"blocks": [(14.0, 10.0), (5.0, 10.0)] * 4}, "may be chance"),
    ],
)
def test_a_record_that_does_not_earn_it(store, add, stage, earn, record, said):  # noqa: PLR0917 - fixtures
    add("one")
    store.promote("one")
    earn("one", **record)
    with pytest.raises(InputError, match=said):
        store.promote("one")
    assert stage("one") == "shadow"


@pytest.mark.parametrize(
    "record",
    [{}, {"ratio": 0.99}, {"blocks": [(9.0, 10.0)] * 8}, {"blocks": [(8.0, 10.0), (9.5, 10.0)] * 10}],
)
def test_a_record_that_earns_it(store, add, stage, earn, record):
    add("one")
    store.promote("one")
    earn("one", **record)
    store.promote("one")
    assert stage("one") == "active"


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss_sum": -1.0},
        {"samples": -1},
        {"blocks": [(8.0, 10.0)] * 8, "loss_sum": 1.0},
        {"blocks": [(8.0, 10.0)] * (BLOCKS_MAX + 1)},
        {"weights_sha256": "0"},
    ],
)
def test_a_record_that_can_t_be_is_not_written(store, add, earn, wrong):
    add("one")
    store.promote("one")
    with pytest.raises(InputError):
        earn("one", **wrong)
    assert store.record("one") is None


def test_a_record_is_for_a_model_in_shadow_and_is_noticed_when_altered(store, add, earn):
    add("one")
    with pytest.raises(InputError, match="not in shadow"):
        earn("one")
    store.promote("one")
    written = earn("one")
    assert store.record("one") == written
    path = store.folder / "one/record.json"
    path.write_bytes(path.read_bytes().replace(b"80.0", b"10.0"))
    with pytest.raises(InputError, match="can't be trusted"):
        store.promote("one")


@settings(max_examples=15)
@given(
    deeds=st.lists(
        st.tuples(st.sampled_from(("promote", "earn", "retire", "rollback")), st.sampled_from("abcd")),
        max_size=25,
    )
)
def test_whatever_is_done_at_most_one_is_active_and_every_history_is_legal(tmp_path_factory, deeds):
    store = ModelStore(tmp_path_factory.mktemp("any"), ManualClock(0))
    for name in "abcd":
        store.add(_card(name), {"w": _numbers(name)})
    for deed, name in deeds:
        try:
            if deed == "earn":
                store.write_record(name, _better(store, name))
            else:
                getattr(store, deed)(name)
        except InputError:
            pass
        lives = [one.life for one in store.held()]
        assert sum(life.stage == "active" for life in lives) <= 1
        for life in lives:
            for earlier, later in zip(life.history, life.history[1:], strict=False):
                assert later.came_from == earlier.to
                assert (later.came_from, later.to) in LEGAL


def _card(name):
    return Card(
        name=name, kind="tiny", resource="cpu", step_seconds=300, seed=0, commit="c", scores=(), created="x",
        data=Data(traces=("t",), series=1, start="s", end="e", rows=1), inference_seconds_per_series=None,
    )  # fmt: skip


def _numbers(name):
    return np.array([ord(name)])


def _better(store, name):
    lives = {one.name: one.life for one in store.held()}
    active = next((life for life in lives.values() if life.stage == "active"), None)
    return Record(
        weights_sha256=lives[name].weights_sha256,
        against=None if active is None else active.name,
        against_sha256=None if active is None else active.weights_sha256,
        since="a", until="b", samples=5_000, loss_sum=1.0, active_loss_sum=2.0,
    )  # fmt: skip


def test_a_stage_is_readable_as_json(store, add):
    add("one")
    assert msgspec.json.decode((store.folder / "one/stage.json").read_bytes())["body"]["stage"] == "candidate"
