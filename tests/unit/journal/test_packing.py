"""What is packed comes back bit for bit, and what was damaged is said to be."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.journal.packing import (
    SPARSE_RATIO_MAX,
    Packed,
    changed,
    changes_between,
    expanded,
    packed,
    sealed,
    shuffled,
    squeezed,
    unpacked,
    unsealed,
    unshuffled,
)
from tidegate.journal.samples import FleetRecord, decoded, encoded, used
from tidegate.model.errors import TidegateError
from tidegate.testing.random_fleets import random_snapshot

DTYPES = ("?", "i1", "u1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", ">f4", ">i8", "<U3", "S5", "<M8[s]")
SHAPES = ((), (0,), (1,), (7,), (3, 0), (0, 3), (2, 3), (2, 3, 5))


def bits_of(values):
    return values.dtype.str, values.shape, values.tobytes()


def any_bits(dtype, shape, seed=0):
    """An array whose bytes are drawn: NaNs of every payload, infinities and subnormals among them."""
    kind, rng = np.dtype(dtype), np.random.default_rng(seed)
    if kind.kind in "?bUS":
        return rng.integers(0, 2, shape).astype(kind)
    count = int(np.prod(shape))
    return np.frombuffer(rng.bytes(count * kind.itemsize), dtype=kind).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_any_type_and_shape_comes_back(dtype, shape):
    values = any_bits(dtype, shape)
    assert bits_of(unpacked(packed(values))) == bits_of(values)
    assert bits_of(unshuffled(shuffled(values), dtype, shape)) == bits_of(values)
    assert bits_of(expanded(squeezed(values), dtype)) == bits_of(values.reshape(-1))


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<u8"])
def test_every_nan_and_both_zeros_keep_their_bits(dtype):
    kind = np.dtype(dtype.replace("u", "f"))
    nan = np.array([np.nan], kind).view(dtype)[0]
    sign = np.array([-0.0], kind).view(dtype)[0]
    bits = np.array([0, sign, nan, nan | 1, nan | 37, nan | sign, sign | 1], dtype=dtype)
    assert unpacked(packed(bits.view(kind))).view(dtype).tolist() == bits.tolist()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(20, dtype=np.float32).reshape(4, 5).T,
        np.arange(20, dtype=np.float32)[::-2],
        np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4)),
        np.broadcast_to(np.float64(3), (3, 4)),
    ],
    ids=["transposed", "backwards", "fortran", "broadcast"],
)
def test_the_order_of_an_array_in_memory_does_not_matter(values):
    assert unpacked(packed(values)).tolist() == values.tolist()
    before = np.zeros_like(values)
    assert unpacked(changed(values, before), before).tolist() == values.tolist()


def test_what_comes_back_may_be_written_into_and_is_nobody_elses():
    before = np.zeros(100, dtype=np.float32)
    after = before.copy()
    after[7] = 1
    back = unpacked(changed(after, before), before)
    back[:] = 9
    assert not before.any()


def test_a_frame_that_stayed_is_not_stored_whether_it_is_the_same_object_or_not():
    frame = any_bits("<f4", (3, 50))
    assert changed(frame, frame) is None
    assert changed(frame.copy(), frame) is None
    assert changes_between({"a": frame.copy()}, {"a": frame}) == {}


@pytest.mark.parametrize(("old", "new"), [(0.0, -0.0), (-0.0, 0.0), (np.nan, -np.nan), (1.0, np.nan)])
def test_a_change_that_comparing_would_not_see_is_a_change(old, new):
    before = np.full(40, old, dtype=np.float32)
    after = before.copy()
    after[3] = new
    found = changed(after, before)
    assert found.index is not None
    assert bits_of(unpacked(found, before)) == bits_of(after)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype not in {"<U3", "S5"}])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 40])
def test_few_changes_are_stored_as_those_and_many_as_the_whole(dtype, count):
    before = any_bits(dtype, (2, 20), seed=1)
    after = before.copy()
    flat = after.reshape(-1).view(f"u{after.dtype.itemsize}")
    flat[np.random.default_rng(count).permutation(40)[:count]] ^= 1
    found = changed(after, before)
    if count == 0:
        assert found is None
        return
    assert (found.index is not None) == (count <= SPARSE_RATIO_MAX * 40)
    assert bits_of(unpacked(found, before)) == bits_of(after)


@pytest.mark.parametrize(
    "before",
    [None, np.zeros((2, 4), np.float32), np.zeros((4, 2), np.float64)],
    ids=["none", "shape", "type"],
)
def test_a_frame_of_another_shape_or_type_is_stored_whole(before):
    after = np.zeros((4, 2), dtype=np.float32)
    assert changed(after, before) == packed(after)


def test_a_zero_dimensional_frame_changes_whole():
    before, after = np.array(1.0), np.array(2.0)
    assert bits_of(unpacked(changed(after, before), before)) == bits_of(after)


@pytest.mark.parametrize("before", [None, np.zeros(39, np.float32)], ids=["none", "shorter"])
def test_changes_without_what_they_change_are_refused(before):
    old = np.zeros(40, dtype=np.float32)
    new = old.copy()
    new[1] = 1
    with pytest.raises(TidegateError, match="beginning is missing"):
        unpacked(changed(new, old), before)


def damaged(blob, *, bits=range(8)):
    for at in range(len(blob)):
        for bit in bits:
            hurt = bytearray(blob)
            hurt[at] ^= 1 << bit
            yield bytes(hurt)


def read_or_told(read, blob):
    """What is read, or None where the damage is told in one sentence; anything else fails the test."""
    try:
        return read(blob)
    except TidegateError as error:
        assert "damaged" in str(error) or "missing" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return None


@pytest.mark.parametrize("count", [1, 100, 3000])
def test_a_bit_flipped_in_a_packed_array_is_noticed(count):
    values = np.arange(count, dtype=np.float32)
    for blob in damaged(squeezed(values)):
        back = read_or_told(lambda data: expanded(data, "<f4", (count,)), blob)
        assert back is None or back.tolist() == values.tolist()


def test_a_bit_flipped_in_a_sealed_record_is_noticed():
    record = packed(np.arange(30, dtype=np.float64))
    for blob in damaged(sealed(record)):
        assert read_or_told(lambda data: unsealed(data, Packed), blob) in {None, record}


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_a_bit_flipped_in_what_a_tick_saw_is_noticed(seed):
    snapshot = random_snapshot(seed)
    fleet = FleetRecord(roster=snapshot.roster, places=snapshot.places)
    for blob in damaged(encoded(snapshot, None), bits=(0, 3, 6)):
        back = read_or_told(lambda data: decoded(data, fleet, None), blob)
        if back is not None:
            assert back.time_seconds == snapshot.time_seconds
            assert back.resources == snapshot.resources
            assert bits_of(back.used) == bits_of(snapshot.used)
            assert bits_of(back.grant) == bits_of(snapshot.grant)
        alone = read_or_told(used, blob)
        assert alone is None or bits_of(alone) == bits_of(snapshot.used)


@pytest.mark.parametrize("blob", [b"", b"\0", b"text, not a blob", squeezed(np.zeros(3))])
def test_bytes_that_are_no_record_are_refused(blob):
    with pytest.raises(TidegateError, match="damaged"):
        unsealed(blob, Packed)


@pytest.mark.parametrize(("dtype", "shape"), [("<f4", (4,)), ("<f8", None), ("?!", None), ("V0", None)])
def test_bytes_of_another_type_or_shape_are_refused(dtype, shape):
    with pytest.raises(TidegateError, match="damaged"):
        unshuffled(shuffled(np.zeros(3, dtype=np.float32)), dtype, shape)
