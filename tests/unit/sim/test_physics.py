"""The physics hold for any array library: nothing is served that is not there, or was not asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy as numpy_namespace
import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidegate.sim.physics import contended, membership, serve, summed, transfer_seconds, transferred

NAMESPACES = [numpy_namespace, array_api_strict]
ROUNDING = 1e-5
EXAMPLES = 30
"""Worlds tried by each test and library."""

namespaces = pytest.mark.parametrize("xp", NAMESPACES, ids=["numpy", "strict"])


@st.composite
def worlds(draw: st.DrawFn) -> SimpleNamespace:
    """A few workloads at a few places, some absent, with more or less than enough of everything."""
    resources, workloads = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    servers, cards = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    shape = (resources, workloads)
    amounts = st.floats(0, 100, width=32)
    demand = draw(arrays(np.float32, shape, elements=amounts))
    demand[draw(arrays(np.bool_, shape))] = np.nan
    return SimpleNamespace(
        demand=demand,
        grant_host=draw(arrays(np.float32, shape, elements=amounts)),
        grant_card=draw(arrays(np.float32, shape, elements=amounts)),
        offloadable_ratio=draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32))),
        host=draw(arrays(np.int64, workloads, elements=st.integers(0, servers - 1))),
        card=draw(arrays(np.int64, workloads, elements=st.integers(servers, servers + cards - 1))),
        allocatable=draw(arrays(np.float64, (resources, servers + cards), elements=st.floats(0, 300))),
        places=servers + cards,
    )


def served(xp: Any, world: SimpleNamespace, **changed: Any) -> SimpleNamespace:
    """Serve a world in a namespace; everything comes back as numpy arrays."""
    given_ = SimpleNamespace(**(vars(world) | changed))
    result = serve(
        xp,
        demand=xp.asarray(given_.demand),
        grant_host=xp.asarray(given_.grant_host),
        grant_card=xp.asarray(given_.grant_card),
        offloadable_ratio=xp.asarray(given_.offloadable_ratio),
        host=membership(xp, xp.asarray(given_.host), given_.places),
        card=membership(xp, xp.asarray(given_.card), given_.places),
        allocatable=xp.asarray(given_.allocatable),
        tolerance=xp.asarray(np.zeros_like(given_.demand)),
    )
    return SimpleNamespace(**{name: np.asarray(getattr(result, name)) for name in result._fields})


@namespaces
@settings(max_examples=EXAMPLES)
@given(world=worlds())
def test_no_place_serves_more_than_it_has(xp, world):
    got = served(xp, world)
    at = np.zeros(world.allocatable.shape)
    np.add.at(at, (slice(None), world.host), got.at_host)
    np.add.at(at, (slice(None), world.card), got.at_card)
    assert (at <= world.allocatable * (1 + ROUNDING) + ROUNDING).all()


@namespaces
@settings(max_examples=EXAMPLES)
@given(world=worlds())
def test_used_is_what_was_served_and_at_most_demand_and_grant(xp, world):
    got = served(xp, world)
    present = ~np.isnan(world.demand)
    assert np.isnan(got.used[~present]).all()
    assert not np.isnan(got.used[present]).any()
    assert (got.used[present] <= world.demand[present] * (1 + ROUNDING)).all()
    assert (got.at_host <= world.grant_host).all()
    assert (got.at_card <= world.grant_card).all()
    assert got.used[present] == pytest.approx((got.at_host + got.at_card)[present])


@namespaces
@settings(max_examples=EXAMPLES)
@given(world=worlds())
def test_pressed_exactly_where_demand_is_above_what_it_got(xp, world):
    got = served(xp, world)
    present = ~np.isnan(world.demand)
    assert not got.pressed[~present].any()
    assert (got.pressed[present] == (world.demand > got.used)[present]).all()


@namespaces
@settings(max_examples=EXAMPLES)
@given(world=worlds(), more=st.floats(0, 50, width=32))
def test_a_workload_alone_gets_no_less_for_a_larger_grant(xp, world, more):
    alone = {"host": np.zeros_like(world.host), "allocatable": np.full_like(world.allocatable, np.inf)}
    before = served(xp, world, **alone)
    after = served(xp, world, grant_host=world.grant_host + np.float32(more), **alone)
    assert (np.nan_to_num(after.used) >= np.nan_to_num(before.used) * (1 - ROUNDING)).all()


@settings(max_examples=EXAMPLES)
@given(world=worlds())
def test_both_libraries_serve_the_same(world):
    first, second = (served(xp, world) for xp in NAMESPACES)
    np.testing.assert_array_equal(first.used, second.used)
    np.testing.assert_array_equal(first.pressed, second.pressed)


@namespaces
def test_a_short_place_serves_everyone_the_same_share(xp):
    member = membership(xp, xp.asarray([0, 0, 1]), 2)
    asked = xp.asarray([[30.0, 10.0, 5.0]])
    got = contended(xp, asked, member, xp.asarray([[20.0, 20.0]]))
    assert np.asarray(got) == pytest.approx(np.array([[15.0, 5.0, 5.0]]))


@namespaces
def test_sums_go_to_the_right_place_even_where_nobody_is(xp):
    member = membership(xp, xp.asarray([2, 0, 2]), 4)
    assert np.asarray(summed(xp, xp.asarray([[1.0, 2.0, 4.0]]), member)).tolist() == [[2.0, 0.0, 5.0, 0.0]]


@namespaces
def test_a_full_link_is_shared_and_an_idle_one_is_not_slowed(xp):
    link = membership(xp, xp.asarray([0, 0, 1]), 2)
    moved = transferred(xp, xp.asarray([60.0, 20.0, 7.0]), link, xp.asarray([40.0, 40.0]))
    assert np.asarray(moved) == pytest.approx([30.0, 10.0, 7.0])


@namespaces
def test_a_transfer_takes_bytes_over_rate(xp):
    assert np.asarray(transfer_seconds(xp, xp.asarray([100.0]), xp.asarray([50.0]))).tolist() == [2.0]
