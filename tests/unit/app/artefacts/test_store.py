"""A crash at any point leaves the state before or after; writers wait for each other, and not for ever."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tidegate.app.artefacts import ModelStore, disk, open_model
from tidegate.app.artefacts import store as stores
from tidegate.model.errors import InputError, TidegateError


class Killed(BaseException):
    """What a killed process would have come to: nothing after it runs."""


def stages(store):
    return {one.name: (one.life.stage if one.life else None, one.problem) for one in store.held()}


@pytest.fixture
def die(monkeypatch):
    """Let the n-th call that changes a name on the disk fail; nothing is tidied up when killed."""
    real = os.replace

    def die(at, error):
        calls = iter(range(1000))

        def replace(path, to):
            if next(calls) == at:
                raise error
            real(path, to)

        monkeypatch.setattr(os, "replace", replace)
        if isinstance(error, Killed):
            monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)

    yield die
    monkeypatch.undo()


@pytest.fixture
def challenged(store, add, activate, earn):
    """Let 'one' be active, and 'two' have earned its place."""
    add("one")
    add("two")
    activate("one")
    store.promote("two")
    earn("two")


def _killed(*_, **__):
    raise Killed


@pytest.mark.parametrize("error", [OSError(28, "no space left"), KeyboardInterrupt(), Killed()], ids=repr)
def test_a_model_is_added_whole_or_not_at_all(store, add, die, monkeypatch, error):
    add("one")
    die(0, error)
    with pytest.raises((TidegateError, KeyboardInterrupt, Killed)):
        add("two")
    assert store.names() == ["one"]
    monkeypatch.undo()
    add("two")
    assert store.names() == ["one", "two"]
    left = sorted(path.name for path in store.folder.iterdir())
    assert left == [".lock", "one", "two"]


@pytest.mark.parametrize("error", [OSError(28, "no space left"), Killed()], ids=repr)
@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("deed", ["promote", "rollback"])
def test_a_change_of_two_is_made_whole_or_not_at_all(  # noqa: PLR0917 - fixtures
    store, add, challenged, die, monkeypatch, deed, at, error
):
    if deed == "rollback":
        store.promote("two")
    before = stages(store)
    other = {name: ({"active": "retired", "retired": "active", "shadow": "active"}[stage], None)
             for name, (stage, _) in before.items()}  # fmt: skip
    die(at, error)
    with pytest.raises((TidegateError, Killed)):
        getattr(store, deed)("two")
    monkeypatch.undo()
    # The first rename decides: before it nothing has happened, after it everything.
    expected = before if at == 0 else other
    assert stages(store) == expected
    for name in ("one", "two"):
        open_model(store.folder / name)
    add("three")
    store.promote("three")
    assert stages(store) == {**expected, "three": ("shadow", None)}
    assert not (store.folder / "moves.json").exists()


@pytest.mark.usefixtures("challenged")
def test_a_crash_before_the_moves_are_forgotten_changes_nothing_more(store, monkeypatch):
    monkeypatch.setattr(ModelStore, "_forget_moves", _killed)
    with pytest.raises(Killed):
        store.promote("two")
    monkeypatch.undo()
    after = {"one": ("retired", None), "two": ("active", None)}
    assert (store.folder / "moves.json").exists()
    assert stages(store) == after
    store.rollback("two")
    assert stages(store) == {"one": ("active", None), "two": ("retired", None)}


@pytest.mark.parametrize("deed", ["promote", "retire"])
def test_a_change_of_one_is_made_whole_or_not_at_all(store, add, die, monkeypatch, deed):
    add("one")
    die(0, OSError(5, "input/output error"))
    with pytest.raises(TidegateError, match="can't be written"):
        getattr(store, deed)("one")
    monkeypatch.undo()
    assert stages(store) == {"one": ("candidate", None)}
    assert not list((store.folder / "one").glob(".*"))


def test_damaged_moves_are_said(store, add):
    add("one")
    (store.folder / "moves.json").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"moves\.json can't be trusted"):
        store.held()
    with pytest.raises(InputError, match=r"moves\.json can't be trusted"):
        store.promote("one")


def test_writers_wait_for_each_other(store, card, weights):
    names = [f"m{number}" for number in range(12)]
    failed = []

    def write(name):
        try:
            store.add(card(name), weights)
            store.promote(name)
            store.retire(name)
        except Exception as error:  # noqa: BLE001 - the test tells which
            failed.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert all(one.problem is None for one in store.held())
    for thread in threads:
        thread.join()
    assert failed == []
    assert stages(store) == dict.fromkeys(names, ("retired", None))


def test_of_many_who_want_one_name_one_gets_it(store, card):
    got, refused = [], []

    def write(number):
        try:
            store.add(card("same", seed=number), {"w": np.array([number])})
            got.append(number)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)
    assert all("already; choose another name" in said for said in refused)
    assert open_model(store.folder / "same").card.seed == got[0]


def test_nobody_waits_for_ever(store, add, monkeypatch):
    add("one")
    monkeypatch.setattr(disk, "LOCK_WAIT_SECONDS", 0.05)
    with (store.folder / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for waits in (lambda: store.promote("one"), store.held, lambda: add("two")):
            with pytest.raises(InputError, match="another Tidegate has been changing"):
                waits()
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert len(store.held()) == 1  # readers do not wait for readers
    assert stages(store) == {"one": ("candidate", None)}


def test_the_store_is_bounded(store, add, monkeypatch):
    add("one")
    monkeypatch.setattr(stores, "MODELS_MAX", 1)
    with pytest.raises(InputError, match="holds 1 models"):
        add("two")


def test_what_can_t_be_read_is_listed_with_its_reason(store, add):
    for name in ("one", "two", "three"):
        add(name)
    (store.folder / "one/card.json").write_bytes(b"{}")
    (store.folder / "two/stage.json").unlink()
    (store.folder / "no model").mkdir()
    (store.folder / "notes.txt").write_text("a stray file is nobody's")
    held = {one.name: one for one in store.held()}
    assert list(held) == ["no model", "one", "three", "two"]
    assert (held["one"].card, held["one"].life.stage) == (None, "candidate")
    assert "altered" in held["one"].problem
    assert held["two"].card.name == "two"
    assert "can't be read" in held["two"].problem
    assert "can't be called" in held["no model"].problem
    assert held["three"].problem is None


def test_a_store_that_is_not_there_is_empty_and_stays_so(store):
    assert (store.names(), store.held()) == ([], [])
    store.check_free("one")
    assert not store.folder.exists()


def test_a_store_that_can_t_be_is_said(tmp_path, store, clock, card, weights):
    (tmp_path / "file").write_text("")
    wrong = ModelStore(tmp_path / "file", clock)
    for asked in (wrong.held, lambda: wrong.check_free("x"), lambda: wrong.add(card("x"), weights)):
        with pytest.raises(InputError, match="--models"):
            asked()
