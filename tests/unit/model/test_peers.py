"""Peers: the nearest circle of settled workloads of the same size, whatever the order of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tidegate.model.peers import GROUPS_MAX, PEERS_MAX, peer_groups, stem
from tidegate.testing import roster_of, snapshot_of


def fleet(names, capacity, host, ids=None):
    snapshot = snapshot_of(np.ones(len(names)), capacity=np.array(capacity, dtype=np.float32))
    roster = roster_of(len(names), names=tuple(names), ids=ids)
    return replace(snapshot, roster=roster, host=np.array(host, dtype=np.int32))


def peers_of(snapshot, newcomer, settled=None):
    new = np.arange(len(snapshot.roster)) == newcomer
    groups = list(peer_groups(snapshot, 0, new, ~new if settled is None else settled))
    return sorted(groups[0].peers.tolist()) if groups else []


@pytest.mark.parametrize(("one", "other"), [("web-017", "web-3"), ("12", "7"), ("db1-a2", "db9-a")])
def test_names_that_differ_in_digits_are_of_one_kind(one, other):
    assert stem(one) == stem(other)


def test_the_nearest_circle_that_is_large_enough_is_asked():
    names = ["web1", *["web2"] * 3, *["web3"] * 3, *["db1"] * 3, *["db2"] * 3, *["web9"] * 3]
    host = [0, *[0] * 3, *[1] * 3, *[0] * 3, *[1] * 3, *[0] * 3]
    capacity = [8.0] * 13 + [4.0] * 3
    snapshot = fleet(names, capacity, host)
    everyone = np.ones(len(names), dtype=np.bool_)
    everyone[0] = False
    assert peers_of(snapshot, 0) == [1, 2, 3]  # its name, here
    everyone[1] = False
    assert peers_of(snapshot, 0, everyone) == [2, 3, 4, 5, 6]  # its name, anywhere
    everyone[1:7] = False
    assert peers_of(snapshot, 0, everyone) == [7, 8, 9]  # anyone of its size here
    everyone[8:10] = False
    assert peers_of(snapshot, 0, everyone) == [7, 10, 11, 12]  # anyone of its size
    everyone[10:12] = False
    assert peers_of(snapshot, 0, everyone) == []  # two are not enough


def test_an_unknown_size_has_no_peers():
    assert peers_of(fleet(["a"] * 5, [np.nan] * 5, [0] * 5), 0) == []


def test_the_work_is_bounded():
    many = 4 * PEERS_MAX
    snapshot = fleet(["a"] * many, [1.0] * many, [0] * many)
    assert len(peers_of(snapshot, 0)) == PEERS_MAX
    kinds = [f"kind{'x' * (row % 100)}" for row in range(400)]
    snapshot = fleet(kinds, [1.0] * 400, [0] * 400)
    new = np.arange(400) < 100
    assert len(list(peer_groups(snapshot, 0, new, ~new))) == GROUPS_MAX


def test_the_order_of_rows_does_not_matter():
    count = 2 * PEERS_MAX
    order = np.random.default_rng(3).permutation(count)
    straight = fleet(["a"] * count, [1.0] * count, [0] * count, ids=np.arange(count) + 1)
    moved = fleet(["a"] * count, [1.0] * count, [0] * count, ids=order + 1)
    wanted = np.sort(straight.roster.ids[peers_of(straight, 0)])
    found = np.sort(moved.roster.ids[peers_of(moved, int(np.flatnonzero(order == 0)[0]))])
    assert found.tolist() == wanted.tolist()
