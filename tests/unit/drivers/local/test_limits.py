"""Limits as the kernel writes them, read and made."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.cgroups.limits import (
    PAGE_BYTES,
    QUOTA_MICROSECONDS_MIN,
    Setting,
    read_limits,
    working_set_bytes,
)
from tidegate.model.resources import Resource

QUOTA_1 = Setting(resource=Resource.CPU, file="a/cpu.cfs_quota_us", text="-1", period_microseconds=50_000)
QUOTA_2 = Setting(resource=Resource.CPU, file="a/cpu.max", text="max 50000", period_microseconds=50_000)
SOFT = Setting(resource=Resource.MEMORY, file="a/memory.high", text="max")


@pytest.mark.parametrize("setting", [QUOTA_1, QUOTA_2, SOFT])
def test_unlimited_is_infinite(setting):
    assert math.isinf(setting.amount)
    assert setting.amount_of("9223372036854771712") == math.inf or setting is not SOFT


@pytest.mark.parametrize(("setting", "text"), [(QUOTA_1, "75000"), (QUOTA_2, "75000 50000")])
def test_a_quota_keeps_the_owners_period(setting, text):
    assert setting.text_for(1.5) == text
    assert setting.amount_of(text) == 1.5


@pytest.mark.parametrize("setting", [QUOTA_1, QUOTA_2])
@given(cores=st.floats(0.0, 512.0))
def test_a_quota_gives_what_was_asked_to_the_microsecond_and_never_less_than_the_kernel_allows(
    setting, cores
):
    asked = float(np.float32(cores))
    given_cores = setting.amount_of(setting.text_for(asked))
    assert given_cores >= asked * (1 - 1e-6)
    smallest = QUOTA_MICROSECONDS_MIN / 50_000
    assert given_cores <= max(asked + 1 / 50_000, smallest)


@given(amount=st.integers(1, 2**50))
def test_a_memory_limit_is_whole_pages_and_at_least_what_was_asked(amount):
    text = SOFT.text_for(amount)
    assert int(text) % PAGE_BYTES == 0
    assert amount <= int(text) < amount + PAGE_BYTES


@pytest.mark.parametrize("text", ["", "words", "nan"])
def test_text_that_means_nothing_is_unknown(text):
    assert math.isnan(SOFT.amount_of(text))


def test_limits_of_a_cgroup_are_read_in_cores_and_bytes(fake):
    fake.cgroup("web")
    hierarchy = find_hierarchy(fake.root)
    free = read_limits(hierarchy, "web")
    assert (free.cpu.amount, free.memory.amount, free.memory_bytes_max) == (math.inf,) * 3
    fake.set_quota("web", 30_000, period=20_000)
    fake.set_soft("web", 8192)
    fake.use("web", hard=1 << 30)
    limits = read_limits(hierarchy, "web")
    assert (limits.cpu.amount, limits.memory.amount, limits.memory_bytes_max) == (1.5, 8192.0, 2.0**30)


def test_what_is_gone_has_no_limits(fake):
    limits = read_limits(find_hierarchy(fake.root), "gone")
    assert limits.cpu is None
    assert limits.memory is None


def test_the_working_set_leaves_out_file_pages_nobody_touched(fake):
    fake.cgroup("web")
    fake.use("web", memory=1000, inactive=300)
    hierarchy = find_hierarchy(fake.root)
    assert working_set_bytes(hierarchy, "web") == 700
    fake.use("web", memory=1000, inactive=3000)  # the two files are of two moments
    assert working_set_bytes(hierarchy, "web") == 0
    assert math.isnan(working_set_bytes(hierarchy, "gone"))
