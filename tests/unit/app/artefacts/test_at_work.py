"""Models at work beside a loop: who speaks for which resource, and what is said where one can't."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tidegate.app.artefacts import new_model
from tidegate.app.day_ahead import Aside, DayAheadOptions, spoken_by
from tidegate.forecast.paths.ridge import Ridge
from tidegate.forecast.paths.usual import Usual
from tidegate.model.errors import InputError
from tidegate.model.panel import Panel
from tidegate.model.resources import Resource

BOTH = (Resource.CPU, Resource.MEMORY)


@pytest.fixture(scope="session")
def learned():
    """What a ridge learned from three days of four series, with a step of half an hour."""
    steps = np.arange(3 * 48)[:, None]
    shares = 0.4 + 0.3 * np.sin(2 * np.pi * steps / 48 + np.arange(4))
    noise = np.random.default_rng(0).normal(0, 0.02, shares.shape)
    panel = Panel(
        start_seconds=1_704_067_200,
        step_seconds=1800,
        names=("a", "b", "c", "d"),
        shares=np.clip(shares + noise, 0, 1).astype(np.float32),
        capacity=np.full(4, 2, dtype=np.float32),
    )
    model = new_model("ridge", seed=0)
    model.fit(panel)
    return model.state()


@pytest.fixture
def activated(store, card, learned, activate):
    def activated(name, **changes):
        store.add(card(name, kind="ridge", **changes), learned)
        activate(name)

    return activated


def spoken(store, model=None, **given):
    return spoken_by(DayAheadOptions(model=model), store, BOTH, **{"step_seconds": 60, "seed": 3} | given)


def spoil(store, name):
    path = store.folder / name / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def test_nobody_speaks_where_none_was_asked_for_and_none_is_active(store, card, learned):
    assert (spoken(store).speakers, spoken(store).notes) == ({}, ())
    store.add(card("candidate", kind="ridge"), learned)
    assert not spoken(store).speakers


@pytest.mark.parametrize("asked", [None, "ridge"])
def test_what_is_active_speaks_and_the_plain_one_for_the_rest(store, activated, asked):
    activated("ridge-1")
    found = spoken(store, asked)
    cpu, memory = found.speakers[Resource.CPU], found.speakers[Resource.MEMORY]
    assert (cpu.name, cpu.fresh, cpu.paths_seconds) == ("ridge-1", None, 0.001)
    assert isinstance(cpu.trained, Ridge)
    assert (memory.name, type(memory.fresh())) == ("profile", Usual)
    assert found.notes == ("no trained model is active for memory: 'profile' says their coming day",)
    assert not spoken(store, "off").speakers


def test_the_one_before_speaks_where_the_active_one_is_damaged_and_that_is_said(store, activated):
    activated("ridge-1")
    activated("ridge-2")
    spoil(store, "ridge-2")
    found = spoken(store)
    assert found.speakers[Resource.CPU].name == "ridge-1"
    assert found.notes[0].startswith("model 'ridge-1', active before, is used: ")
    spoil(store, "ridge-1")
    nobody = spoken(store)
    assert not nobody.speakers
    assert "ridge-2" in nobody.notes[0]
    with pytest.raises(InputError, match=r"no model 'ridge' is active.*was altered.*--day-ahead profile"):
        spoken(store, "ridge")


def test_one_of_another_step_does_not_speak(store, activated):
    activated("ridge-1", step_seconds=1800)
    assert not spoken(store).speakers
    assert spoken(store, step_seconds=1800).speakers


def test_a_store_that_can_t_be_read_keeps_no_loop_from_starting(store):
    store.folder.write_text("no folder")
    found = spoken(store)
    assert not found.speakers
    assert "can't be read" in found.notes[0]


@pytest.mark.parametrize(("name", "costs"), [("profile", 0.002), ("seasonal_naive", 0.002), ("theta", 0.05)])
def test_models_of_each_series_speak_for_all(store, name, costs):
    found = spoken(store, name)
    assert list(found.speakers) == list(BOTH)
    assert found.speakers[Resource.CPU].fit_seconds == costs
    assert found.notes == ()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ridge", r"no model 'ridge' is active for cpu or memory at steps of 300 s; train and promote one"),
        ("gates", r"learns from many series for minutes and can't be stored; choose from last, "),
        ("nobody", "unknown model 'nobody'"),
        ("ridge+feeds", "the running loop has no feeds"),
    ],
)
def test_who_can_t_speak_is_refused_with_what_can_be_done(store, name, sentence):
    with pytest.raises(InputError, match=sentence):
        spoken(store, name)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_seconds_that_can_t_be_are_refused(seconds):
    with pytest.raises(InputError, match="is no number of seconds"):
        DayAheadOptions(refit_seconds_max=seconds)


def test_work_aside_is_waited_for_at_the_end_alone():
    goes_on, aside = threading.Event(), Aside()
    handle = aside(lambda: [goes_on.wait(60)])
    assert not handle.done()
    goes_on.set()
    aside.close()
    assert handle.done()
    assert handle.result() == [True]


def test_what_work_aside_raises_is_raised_where_it_is_asked_for():
    aside = Aside()
    handle = aside(lambda: 1 / 0)
    aside.close()
    with pytest.raises(ZeroDivisionError):
        handle.result()
