"""Predictions of live moves: properties that hold of any, and moves that were measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.plan.live_moves import GRAIN_BYTES, PAGE_BYTES, PAGE_HEAD_BYTES, SWITCH_SECONDS, predicted_moves

MB = 1e6
WHOLE = 1 + PAGE_HEAD_BYTES / PAGE_BYTES
amounts = st.floats(1 * MB, 1e12)
speeds = st.floats(1 * MB, 1e10)


def one(used, dirty, link, pause=0.3, **more):
    return predicted_moves(
        used_bytes=used,
        dirty_bytes_per_second=dirty,
        link_bytes_per_second=link,
        downtime_seconds_max=pause,
        **more,
    )


@given(used=amounts, link=speeds)
def test_a_guest_that_writes_nothing_is_sent_once(used, link):
    found = one(used, 0, link)
    assert found.ends
    assert found.bytes_sent == pytest.approx(used * WHOLE)
    assert found.throttle_ratio == 0
    assert found.seconds >= used / link


@given(used=amounts, link=speeds, share=st.floats(0, 0.95), more=st.floats(0, 0.04))
def test_who_writes_faster_takes_longer(used, link, share, more):
    slow, fast = one(used, [share * link, (share + more) * link], link, auto_converge=False).seconds
    assert fast >= slow * (1 - 1e-9)


@given(used=amounts, link=speeds, share=st.floats(0, 0.95))
def test_what_fits_the_link_ends_within_the_pause_and_near_the_sum_of_all_rounds(used, link, share):
    found = one(used, share * link, link, auto_converge=False)
    assert found.ends
    assert found.downtime_seconds <= 0.3 + SWITCH_SECONDS + GRAIN_BYTES / link
    # All rounds together, if none ended early: Clark et al., the geometric sum.
    assert found.bytes_sent <= used * WHOLE / (1 - share * WHOLE) * (1 + 1e-6) + GRAIN_BYTES


@given(used=st.floats(100 * MB, 1e12), share=st.floats(1.05, 20))
def test_who_writes_faster_than_the_link_never_ends_unless_slowed_down(used, share):
    link = 50 * MB
    assert not one(used, share * link, link, auto_converge=False).ends
    slowed = one(used, share * link, link)
    assert slowed.ends
    assert 0 < slowed.throttle_ratio <= 0.99


def test_a_working_set_that_fits_the_pause_ends_whatever_its_rate():
    found = one(1e9, 5e9, 100 * MB, working_set_bytes=20 * MB, auto_converge=False)
    assert found.ends
    assert found.rounds == 2


def test_a_limit_holds_while_the_guest_runs_only():
    free, held = one(1e9, 0, 1e9), one(1e9, 0, 1e9, limit_bytes_per_second=1e8)
    assert held.seconds > 9 * free.seconds
    assert held.downtime_seconds < free.downtime_seconds


def test_arrays_are_broadcast_and_each_is_as_if_alone():
    dirty, link = np.array([[0.0], [20 * MB], [200 * MB]]), np.array([64 * MB, 128 * MB])
    found = one(200 * MB, dirty, link)
    assert found.seconds.shape == (3, 2)
    for at in np.ndindex(3, 2):
        alone = one(200 * MB, dirty[at[0], 0], link[at[1]])
        assert found.seconds[at] == alone.seconds
        assert found.rounds[at] == alone.rounds


@pytest.mark.parametrize(("used", "dirty", "link"), [(-1, 0, 1), (1, np.nan, 1), (1, 0, 0), (1, 0, np.inf)])
def test_what_is_no_amount_is_refused(used, dirty, link):
    with pytest.raises(ValueError, match=r"a link has a speed|numbers of at least 0"):
        one(used, dirty, link)


# Of a guest of 256 MiB, emulated by QEMU 10.0 on two cores, that rewrote 64 MiB at a steady pace; by QMP.
MEASURED = [
    # dirty MB/s, limit MB/s, seconds, MB sent
    (0, 64, 1.83, 126.0),
    (20, 64, 2.511, 177.2),
    (40, 64, 3.51, 242.6),
    (10, 32, 5.029, 173.3),
]


def test_moves_that_were_measured_are_predicted():
    dirty, limit, seconds, sent = np.array(MEASURED).T
    found = one(125.5 * MB, dirty * MB, 1e9, limit_bytes_per_second=limit * MB, working_set_bytes=64 * 2**20)
    np.testing.assert_allclose(found.seconds, seconds, rtol=0.10)
    np.testing.assert_allclose(found.bytes_sent, sent * MB, rtol=0.10)
