"""A checkpoint is written in slices, each once, and comes back as the arrays that were handed in."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.journal.packing import sealed, squeezed
from tidegate.journal.sql import checkpoint
from tidegate.journal.sql.checkpoint import DIGEST_BYTES, Saving, manifest_decoded, restored
from tidegate.model.errors import TidegateError

SLICE_BYTES = 64
"""Small, so that small arrays are many slices."""


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch):
    monkeypatch.setattr(checkpoint, "SLICE_BYTES", SLICE_BYTES)


def saved(state, stored=None, *, ticks=5):
    """The manifest and the slices written, by digest; how many calls it took."""
    saving, calls, written = Saving(3, state, ticks=ticks), 0, {}
    known = set() if stored is None else set(stored)
    while not saving.done:
        fresh = saving.next(known)
        assert len({part.digest for part in fresh}) == len(fresh)
        written |= {part.digest: part.data for part in fresh}
        calls += 1
    return saving.file(), written, calls


def state_of(seed):
    """Arrays of many types and shapes; some parts are alike."""
    rng = np.random.default_rng(seed)
    dtypes = ("?", "i1", "<u2", "<f2", "<f4", "<f8", "<i8")
    state = {}
    for number in range(int(rng.integers(0, 7))):
        shape = tuple(int(size) for size in rng.integers(0, 9, int(rng.integers(0, 4))))
        dtype = np.dtype(dtypes[rng.integers(len(dtypes))])
        count = int(np.prod(shape))
        drawn = np.frombuffer(rng.bytes(count * dtype.itemsize), "u1")
        values = (drawn % 2 if dtype == "?" else drawn).view(dtype).reshape(shape)
        state[f"stage{number % 3}.array{number}"] = values if rng.random() < 0.7 else np.zeros_like(values)
    return state


def same(left, right):
    return left.keys() == right.keys() and all(
        (left[name].dtype, left[name].shape, left[name].tobytes())
        == (right[name].dtype, right[name].shape, right[name].tobytes())
        for name in left
    )


@pytest.mark.parametrize("seed", range(25))
def test_any_state_comes_back_bit_for_bit_and_by_its_beginning(seed):
    state = state_of(seed)
    manifest, written, _ = saved(state)
    again = manifest_decoded(manifest.encoded())
    assert again == manifest
    assert set(written) == manifest.digests
    assert same(restored(again, lambda _: written), state)
    part = {name: array for name, array in state.items() if name.startswith("stage1.")}
    asked = []
    assert same(restored(again, lambda some: asked.append(some) or written, under="stage1."), part)
    assert asked[0] == {digest for name in part for digest in manifest.arrays[name].slices}


@pytest.mark.parametrize("slices", [0, 1, 4, 5, 6, 10, 11, 500])
@pytest.mark.parametrize("ticks", [1, 5])
def test_it_is_done_after_as_many_ticks_as_were_said(slices, ticks):
    state = {"all": np.random.default_rng(0).random(slices * SLICE_BYTES // 8)}
    _, written, calls = saved(state, ticks=ticks)
    assert calls <= ticks
    assert len(written) == slices


def test_no_tick_writes_much_more_than_its_part():
    state = {"all": np.random.default_rng(0).random(100 * SLICE_BYTES // 8)}
    saving = Saving(0, state, ticks=10)
    counts = [len(saving.next(set())) for _ in range(10)]
    assert max(counts) <= 11


def test_what_is_stored_already_is_not_written_again():
    state = {"ring": np.random.default_rng(1).random((20, SLICE_BYTES // 8)), "counts": np.arange(30)}
    _, first, _ = saved(state)
    moved = {"ring": state["ring"].copy(), "counts": state["counts"]}
    moved["ring"][7] += 1
    manifest, second, _ = saved(moved, first)
    assert len(second) == 1
    assert same(restored(manifest, lambda _: first | second), moved)


def test_rows_that_are_alike_are_written_once():
    state = {"a": np.zeros((50, SLICE_BYTES // 8)), "b": np.zeros((3, SLICE_BYTES // 8))}
    _, written, _ = saved(state)
    assert len(written) == 1


def test_alike_bytes_of_another_type_are_told_apart():
    state = {"a": np.zeros(8, dtype=np.float64), "b": np.zeros(8, dtype=np.int64), "c": np.zeros(64, bool)}
    manifest, written, _ = saved(state)
    assert len(written) == 3
    assert same(restored(manifest, lambda _: written), state)


def test_a_later_write_into_what_was_handed_in_as_a_view_of_other_order_does_not_matter():
    grid = np.arange(40, dtype=np.float32).reshape(5, 8)
    state = {"columns": grid.T}
    manifest, written, _ = saved(state)
    assert same(restored(manifest, lambda _: written), {"columns": np.ascontiguousarray(grid.T)})


def test_a_missing_slice_is_named_by_its_array():
    manifest, written, _ = saved({"stage.ring": np.arange(100), "stage.other": np.zeros(2)})
    written.pop(manifest.arrays["stage.ring"].slices[1])
    with pytest.raises(TidegateError, match=r"lacks a part of 'stage\.ring'"):
        restored(manifest, lambda _: written)
    assert restored(manifest, lambda _: written, under="stage.other").keys() == {"stage.other"}


@pytest.mark.parametrize("hurt", [b"", b"no slice", squeezed(np.zeros(3)), squeezed(np.zeros(7, np.uint8))])
def test_a_damaged_slice_is_refused(hurt):
    manifest, written, _ = saved({"ring": np.arange(5.0)})
    with pytest.raises(TidegateError, match="damaged"):
        restored(manifest, lambda _: dict.fromkeys(written, hurt))


def test_a_slice_in_the_place_of_another_of_its_size_is_refused():
    manifest, written, _ = saved({"ring": np.arange(16.0)})
    first, second = manifest.arrays["ring"].slices
    swapped = {first: written[second], second: written[first]}
    with pytest.raises(TidegateError, match="damaged"):
        restored(manifest, lambda _: swapped)


@pytest.mark.parametrize("blob", [b"", b"\0" * 30, sealed(saved({})[0])[:-1]])
def test_a_damaged_list_of_slices_is_refused(blob):
    with pytest.raises(TidegateError, match="damaged"):
        manifest_decoded(blob)


def test_digests_are_as_long_as_their_column():
    manifest, _, _ = saved({"a": np.arange(3)})
    assert {len(digest) for digest in manifest.digests} == {DIGEST_BYTES}
