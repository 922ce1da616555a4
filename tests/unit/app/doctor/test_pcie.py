"""What PCIe links carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.app.doctor.pcie import LinkEnd, link_of, rate


@pytest.mark.parametrize(
    ("speed", "width", "gigabytes_per_second"),
    [
        # PCI-SIG's figures for one direction, before packet headers.
        ("2.5 GT/s PCIe", "1", 0.25),
        ("5.0 GT/s PCIe", "8", 4.0),
        ("8.0 GT/s PCIe", "16", 15.754),
        ("16.0 GT/s PCIe", "16", 31.508),
        ("32.0 GT/s PCIe", "16", 63.015),
        ("64.0 GT/s PCIe", "16", 118.0),
    ],
)
def test_a_link_carries_what_its_generation_does(speed, width, gigabytes_per_second):
    found = rate(speed, width)
    assert found is not None
    assert found.bytes_per_second == pytest.approx(gigabytes_per_second * 1e9, rel=1e-4)


@pytest.mark.parametrize(
    ("speed", "width"), [("Unknown", "8"), ("8.0 GT/s", "0"), ("8.0 GT/s", "255"), ("", "")]
)
def test_an_unknown_link_is_unknown(speed, width):
    assert rate(speed, width) is None


def end(address, now, could):
    (now_speed, now_width), (max_speed, max_width) = now, could
    return LinkEnd(
        address=address,
        current_speed=f"{now_speed} GT/s PCIe",
        max_speed=f"{max_speed} GT/s PCIe",
        current_width=str(now_width),
        max_width=str(max_width),
    )


GEN4X16, GEN4X8, GEN3X16 = ("16.0", 16), ("16.0", 8), ("8.0", 16)


def test_a_full_link_is_full():
    link = link_of((end("nic", GEN4X16, GEN4X16), end("port", GEN4X16, GEN4X16)))
    assert link is not None
    assert link.is_full


def test_a_narrow_slot_and_a_link_trained_down_are_told_apart():
    slot = link_of((end("nic", GEN4X8, GEN4X16), end("port", GEN4X8, GEN4X8)))
    down = link_of((end("nic", GEN4X8, GEN4X16), end("port", GEN4X8, GEN4X16)))
    assert slot is not None
    assert down is not None
    assert (slot.is_full, slot.is_by_slot) == (False, True)
    assert (down.is_full, down.is_by_slot) == (False, False)


def test_the_narrowest_link_on_the_way_counts():
    link = link_of(
        (
            end("card", GEN4X16, GEN4X16),
            end("switch", GEN4X16, GEN4X16),
            end("upstream", GEN3X16, GEN4X16),
            end("root", GEN3X16, GEN3X16),
        )
    )
    assert link is not None
    assert (link.narrowest, str(link.now), link.is_full, link.is_by_slot) == (
        "upstream",
        "x16 8 GT/s",
        False,
        True,
    )


def test_a_root_port_says_nothing_of_its_own():
    slow_port = end("root", ("2.5", 1), GEN4X16)
    link = link_of((end("nic", GEN4X16, GEN4X16), slow_port))
    assert link is not None
    assert link.is_full


RATES = st.tuples(
    st.sampled_from(["2.5", "5.0", "8.0", "16.0", "32.0", "64.0"]), st.sampled_from([1, 2, 4, 8, 16])
)


@given(st.lists(st.tuples(RATES, RATES), min_size=2, max_size=5))
def test_a_link_never_carries_more_than_any_part_of_it(pairs):
    ends = tuple(end(str(row), now, could) for row, (now, could) in enumerate(pairs))
    link = link_of(ends)
    assert link is not None
    nows = [rate(one.current_speed, one.current_width) for one in ends[:-1]]
    assert all(link.now.bytes_per_second <= one.bytes_per_second for one in nows if one)
    assert link.is_full == (link.now.bytes_per_second >= link.could.bytes_per_second)
