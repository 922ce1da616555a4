"""Many VMs: what costs most takes turns."""

from __future__ import annotations

import numpy as np

CPU, STORAGE = 0, 3
SECONDS = 10**9


def test_on_a_large_host_disks_take_turns_and_rates_are_over_their_own_time(host, server_of):
    server, domains = server_of(), [host.domain(f"vm{at:02}") for at in range(30)]
    server.read()
    looked = []
    for _ in range(6):
        host.advance(10)
        for domain in domains:
            domain.totals["block.0.rd.bytes"] += 500
            domain.totals["vcpu.0.time"] += SECONDS
        looked.append(server.read().used)
    assert host.disks_asked == 6 * 10
    told = np.array([~np.isnan(used[STORAGE]) for used in looked])
    assert told.sum(axis=1).tolist() == [10] * 6
    assert told.sum(axis=0).tolist() == [2] * 30
    assert set(np.concatenate([used[STORAGE][~np.isnan(used[STORAGE])] for used in looked])) == {50.0}
    np.testing.assert_allclose([used[CPU] for used in looked], 0.1, rtol=1e-6)
