"""What the engine gets: the active model, or the one before it, and a sentence that says so."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.app import path_models
from tidegate.app.artefacts import active, load_active, new_model, open_model, revived, storable_kinds
from tidegate.model.errors import InputError


def spoil(store, name, file="weights.safetensors"):
    path = store.folder / name / file
    path.write_bytes(path.read_bytes()[:-1])


def test_nothing_then_the_active_one(store, add, activate):
    assert load_active(store, "tiny", "cpu") is None
    add("one")
    store.promote("one")
    assert load_active(store, "tiny", "cpu") is None
    add("two")
    activate("two")
    found = load_active(store, "tiny", "cpu", step_seconds=300)
    assert (found.opened.card.name, found.fell_back) == ("two", None)
    assert load_active(store, "tiny", "memory") is None
    assert load_active(store, "other", "cpu") is None


@pytest.mark.parametrize("file", ["weights.safetensors", "card.json", "SHA256SUMS", "stage.json"])
def test_the_one_before_is_used_and_said_where_the_active_one_is_damaged(store, add, activate, file):
    for name in ("one", "two", "three"):
        add(name)
        activate(name)
    spoil(store, "three", file)
    found = load_active(store, "tiny", "cpu")
    assert found.opened.card.name == "two"
    assert found.fell_back.startswith("model 'two', active before, is used: ")
    assert f"three/{file}" in found.fell_back
    spoil(store, "two")
    assert load_active(store, "tiny", "cpu").opened.card.name == "one"
    spoil(store, "one")
    with pytest.raises(InputError, match=f"three/{file}"):
        load_active(store, "tiny", "cpu")


def test_who_was_taken_back_or_retired_is_never_fallen_back_to(store, add, activate):
    for name in ("one", "two", "three"):
        add(name)
    activate("one")
    activate("two")
    store.rollback("two")
    spoil(store, "one")
    with pytest.raises(InputError, match="one/weights"):
        load_active(store, "tiny", "cpu")
    store.retire("one")
    assert load_active(store, "tiny", "cpu") is None


def test_one_of_another_step_is_passed_over(store, add, activate):
    add("one")
    activate("one")
    add("two", step_seconds=60)
    activate("two")
    found = load_active(store, "tiny", "cpu", step_seconds=300)
    assert found.opened.card.name == "one"
    assert "its step in seconds is 60, and 300 is needed" in found.fell_back


class Tiny:
    """Learns one number per panel."""

    def __init__(self, seed):
        self.level = np.zeros(1, dtype=np.float32)
        self.seed = seed

    def state(self):
        return {"level": self.level}

    def restore(self, state):
        if set(state) != {"level"}:
            raise InputError("the array 'level' is missing")
        self.level = state["level"]


class Forgetful:
    """Has nothing to store."""

    def __init__(self, seed):
        self.seed = seed


class Entry:
    def __init__(self, name, made):
        self.name, self.load = name, lambda: made


def _missing(seed):
    raise ModuleNotFoundError("no such thing")


@pytest.fixture
def plug_ins(monkeypatch):
    found = [Entry("tiny", Tiny), Entry("forgetful", Forgetful), Entry("broken", _missing)]
    for module in (path_models, active):
        monkeypatch.setattr(module, "entry_points", lambda group: found if group == path_models.GROUP else [])


@pytest.mark.usefixtures("plug_ins")
def test_a_model_goes_on_where_it_was(store, card):
    model = new_model("tiny", seed=5)
    model.level = np.array([0.25], dtype=np.float32)
    store.add(card("one", seed=5), model.state())
    again = revived(open_model(store.folder / "one"))
    assert (again.seed, again.level.tolist()) == (5, [0.25])
    again.level += 1  # what it was given is its own


@pytest.mark.usefixtures("plug_ins")
def test_weights_of_something_else_are_refused(store, card):
    store.add(card("one"), {"other": np.zeros(1)})
    with pytest.raises(InputError, match="model 'one' does not fit this Tidegate: the array 'level'"):
        revived(open_model(store.folder / "one"))
    store.add(card("two", kind="nobody"), {"other": np.zeros(1)})
    with pytest.raises(InputError, match="unknown model 'nobody'"):
        revived(open_model(store.folder / "two"))


@pytest.mark.usefixtures("plug_ins")
def test_who_can_t_be_stored_is_told_who_can():
    assert "tiny" in storable_kinds()
    assert not {"forgetful", "broken"} & set(storable_kinds())
    with pytest.raises(InputError, match=r"'forgetful' has nothing to store.*choose from .*tiny"):
        new_model("forgetful", seed=0)


def test_a_model_with_feeds_is_not_trained_for_there_are_none():
    with pytest.raises(InputError, match=r"model 'ridge\+feeds' learns from feeds.*leave the end off"):
        new_model("ridge+feeds", seed=0)
