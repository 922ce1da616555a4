"""Real programs on this machine are killed, cut off and left without a disk, and agree again afterwards."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from tidegate.drivers.card.groups import Groups
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.lab.bench.device import killing
from tidegate.lab.bench.device.killing_looking import ROOT

pytestmark = [pytest.mark.root, pytest.mark.slow]
SEED = 5


@pytest.fixture(autouse=True)
def _as_root():
    if os.geteuid() != 0:
        pytest.skip("needs root to make namespaces and cgroups: run the tests as root")


def test_killed_cut_off_or_out_of_disk_all_agree_afterwards():
    said = []
    rows = killing.killed_points(12, SEED, apart=1, apart_seconds=8.0, full=4, ordered=0, told=said.append)
    figures = {row.name: row.value for row in rows}
    assert figures["killed_points_consistent"] == 12, "\n".join(said)
    assert figures["partitions_consistent"] == 1, "\n".join(said)
    assert figures["full_disks_consistent"] == 4, "\n".join(said)


def test_it_sees_what_was_lost(tmp_path):
    """A program that is killed itself has lost what it kept in memory; nobody said that it may."""

    async def run():
        async with killing.driving(tmp_path, SEED, lambda _: None) as driver:
            await asyncio.sleep(1.0)
            groups = Groups(find_hierarchy(ROOT), driver.world.card("a"))
            os.kill(groups.members("k0")[0], signal.SIGKILL)
            return await driver._settled(np.random.default_rng(SEED), 20.0)

    (fault,) = asyncio.run(run())
    assert fault.startswith("k0 has lost")
