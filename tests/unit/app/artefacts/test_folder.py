"""A stored model comes back bit for bit, or is refused in a sentence."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.app.artefacts import Card, Data, ModelStore, folder, open_model
from tidegate.app.artefacts.card import encoded_card
from tidegate.app.artefacts.sealed import sealed, unsealed
from tidegate.model.errors import InputError
from tidegate.testing import ManualClock

FILES = ("SHA256SUMS", "card.json", "stage.json", "weights.safetensors")


def test_what_was_stored_comes_back(store, add, weights):
    written = add("one")
    opened = open_model(store.folder / "one")
    assert opened.card == written
    assert (written.weights_bytes, len(written.weights_sha256)) == (
        (store.folder / "one/weights.safetensors").stat().st_size, 64,
    )  # fmt: skip
    assert set(opened.weights) == set(weights)
    for name, array in weights.items():
        assert opened.weights[name].dtype == array.dtype
        assert opened.weights[name].shape == array.shape
        assert opened.weights[name].tobytes() == array.tobytes()
    assert sorted(path.name for path in (store.folder / "one").iterdir()) == sorted(FILES)


def test_an_array_that_does_not_lie_in_rows_comes_back_too(store, card):
    columns = np.arange(12.0).reshape(3, 4).T
    strided = np.arange(10)[::-2]
    store.add(card("one"), {"columns": columns, "strided": strided})
    opened = open_model(store.folder / "one")
    assert (opened.weights["columns"] == columns).all()
    assert (opened.weights["strided"] == strided).all()


def test_the_same_model_is_the_same_bytes(tmp_path, card, weights):
    for at in ("a", "b"):
        order = weights if at == "a" else dict(reversed(weights.items()))
        ModelStore(tmp_path / at, ManualClock(5)).add(card("one"), order)
    for name in FILES:
        assert (tmp_path / "a/one" / name).read_bytes() == (tmp_path / "b/one" / name).read_bytes()


def test_the_checksums_are_those_that_a_shell_checks(store, add):
    add("one")
    lines = (store.folder / "one/SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["card.json", "weights.safetensors"]
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((store.folder / "one" / name).read_bytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a stored model by file, and a folder to spoil."""
    store = ModelStore(tmp_path_factory.mktemp("spoil"), ManualClock(0))
    card = Card(
        name="one", kind="tiny", resource="cpu", step_seconds=300, seed=0, commit="c", scores=(), created="x",
        data=Data(traces=("t",), series=1, start="s", end="e", rows=1), inference_seconds_per_series=None,
    )  # fmt: skip
    store.add(card, {"w": np.arange(3, dtype=np.float32)})
    path = store.folder / "one"
    return path, {name: (path / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_refused(whole, name):
    path, files = whole
    open_model(path)
    data = files[name]
    try:
        for at in range(len(data)):
            (path / name).write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
            with pytest.raises(InputError):
                open_model(path)
    finally:
        (path / name).write_bytes(data)
    open_model(path)


@settings(max_examples=100)
@given(drawn=st.data())
def test_any_other_byte_any_cut_and_anything_added_is_refused(whole, drawn):
    path, files = whole
    name = drawn.draw(st.sampled_from(FILES))
    data = files[name]
    at = drawn.draw(st.integers(0, len(data) - 1))
    spoilt = drawn.draw(
        st.sampled_from(
            (
                data[:at],
                data[:at] + data[at + 1 :],
                data[:at] + b" " + data[at:],
                data + data[at:],
                data + b"\n",
            )
        )
        | st.integers(1, 255).map(lambda by: data[:at] + bytes([data[at] ^ by]) + data[at + 1 :])
    )
    try:
        (path / name).write_bytes(spoilt)
        with pytest.raises(InputError):
            open_model(path)
    finally:
        (path / name).write_bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_a_link_and_a_pipe_are_refused(whole, tmp_path, name):
    path, files = whole
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(files[name])
    try:
        (path / name).unlink()
        with pytest.raises(InputError, match=r"can't be read .*restore"):
            open_model(path)
        (path / name).symlink_to(elsewhere)
        with pytest.raises(InputError, match="can't be read"):
            open_model(path)
        (path / name).unlink()
        os.mkfifo(path / name)
        with pytest.raises(InputError, match="no plain file"):
            open_model(path)
    finally:
        (path / name).unlink(missing_ok=True)
        (path / name).write_bytes(files[name])


def test_a_folder_that_is_a_link_a_file_or_not_there_is_refused(store, add):
    add("one")
    link = store.folder / "two"
    link.symlink_to(store.folder / "one")
    for path in (link, store.folder / "one/card.json", store.folder / "none"):
        with pytest.raises(InputError, match="no folder of a model"):
            open_model(path)


def test_a_renamed_folder_and_the_stage_of_another_are_refused(store, add, card, weights):
    add("one")
    add("two")
    (store.folder / "one").rename(store.folder / "three")
    with pytest.raises(InputError, match="holds the model 'one'; rename"):
        open_model(store.folder / "three")
    (store.folder / "three").rename(store.folder / "one")
    mine = (store.folder / "one/stage.json").read_bytes()
    (store.folder / "one/stage.json").write_bytes((store.folder / "two/stage.json").read_bytes())
    with pytest.raises(InputError, match="is of the model 'two'"):
        open_model(store.folder / "one")
    other = ModelStore(store.folder.parent / "other", store.clock)
    other.add(card("one"), {**weights, "mean": np.array(0.25)})
    (other.folder / "one/stage.json").write_bytes(mine)
    with pytest.raises(InputError, match="another model of that name"):
        open_model(other.folder / "one")


@pytest.mark.parametrize(("version", "remedy"), [(2, "update Tidegate"), (0, "train the model again")])
def test_another_version_is_refused_and_told_apart(store, add, version, remedy):
    written = add("one")
    path = store.folder / "one"
    text = encoded_card(written).replace(b'"format": 1', b'"format": %d' % version)
    (path / "card.json").write_bytes(text)
    (path / "SHA256SUMS").write_bytes(folder._sums(text, written.weights_sha256))
    with pytest.raises(InputError, match=f"is of format {version}.*{remedy}"):
        open_model(path)


def test_a_card_that_says_what_it_can_t_is_refused_though_its_checksum_is_right(store, add):
    written = add("one")
    path = store.folder / "one"
    for wrong in (b'"resource": "colour"', b'"resource": 3', b'"resource": "cpu", "surprise": 1'):
        text = encoded_card(written).replace(b'"resource": "cpu"', wrong)
        (path / "card.json").write_bytes(text)
        (path / "SHA256SUMS").write_bytes(folder._sums(text, written.weights_sha256))
        with pytest.raises(InputError):
            open_model(path)


def test_weights_that_are_no_arrays_are_refused_though_their_checksum_is_right(store, add):
    written = add("one")
    path = store.folder / "one"
    data = pickle.dumps({"w": 1})
    digest = hashlib.sha256(data).hexdigest()
    changed = msgspec.structs.replace(written, weights_bytes=len(data), weights_sha256=digest)
    (path / "weights.safetensors").write_bytes(data)
    (path / "card.json").write_bytes(encoded_card(changed))
    (path / "SHA256SUMS").write_bytes(folder._sums(encoded_card(changed), digest))
    life = folder.read_life(path)
    (path / "stage.json").write_bytes(sealed(msgspec.structs.replace(life, weights_sha256=digest)))
    with pytest.raises(InputError, match="holds no arrays"):
        open_model(path)


def test_too_large_is_refused_when_stored_and_when_opened(store, add, card, weights, monkeypatch):
    add("one")
    monkeypatch.setattr(folder, "WEIGHTS_BYTES_MAX", 100)
    with pytest.raises(InputError, match="at most 100 are read"):
        open_model(store.folder / "one")
    with pytest.raises(InputError, match="at most 100 are stored"):
        store.add(card("two"), weights)
    assert store.names() == ["one"]


def test_another_kind_resource_or_step_than_asked_for_is_refused(store, add):
    add("one")
    path = store.folder / "one"
    open_model(path, kind="tiny", resource="cpu", step_seconds=300)
    for wanted in ({"kind": "lstm"}, {"resource": "memory"}, {"step_seconds": 60}):
        with pytest.raises(InputError, match="can't be used here"):
            open_model(path, **wanted)


def test_what_can_t_be_stored_is_said(store, card):
    for weights, said in (
        ({}, "learned nothing"),
        ({"w": np.array(["a"])}, "plain numbers"),
        ({"w": np.array([None])}, "plain numbers"),
        ({"w": np.array([1j])}, "plain numbers"),
    ):
        with pytest.raises(InputError, match=said):
            store.add(card("one"), weights)
    for name in ("", ".", "..", "../x", "a/b", ".hidden", "a" * 65, "a b", "a\n", "/etc"):
        with pytest.raises(InputError, match="can't be called"):
            store.add(card(name), {"w": np.zeros(1)})
    with pytest.raises(InputError, match="no resource"):
        store.add(card("one", resource="colour"), {"w": np.zeros(1)})
    with pytest.raises(InputError, match="notes are longer"):
        store.add(card("one", notes="x" * 2_001), {"w": np.zeros(1)})
    assert store.names() == []
    assert not list(Path(store.folder).glob("*"))


def test_a_sealed_file_may_gain_fields_with_defaults():
    class Old(msgspec.Struct):
        name: str

    class New(msgspec.Struct):
        name: str
        more: int = 3

    assert unsealed(sealed(Old("x")), New) == New("x", 3)
    with pytest.raises(ValueError, match="checksum"):
        unsealed(b"", Old)
