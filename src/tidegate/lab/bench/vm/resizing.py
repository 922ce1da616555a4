"""How long each way to resize a guest takes, from the order to what is read back."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from tidegate.drivers.libvirt.policy import POLICY_URI
from tidegate.drivers.libvirt.server import LibvirtServer
from tidegate.drivers.local.clock import SystemClock
from tidegate.lab.bench.result import Row, row
from tidegate.model.errors import TidegateError
from tidegate.model.outcome import Phase
from tidegate.model.plan import Actions, Kind
from tidegate.model.roster import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tidegate.lab.bench.guests.running import Guest, Host
    from tidegate.model.snapshot import Snapshot

CPU, MEMORY, NETWORK, STORAGE = range(4)
SECONDS_MAX: Final = 90.0
WAYS: Final = (
    ("quota_ms", CPU, 0.25, "ms", 1000.0),
    ("balloon_down_by_a_quarter_seconds", MEMORY, 0.75, "s", 1.0),
    ("balloon_up_seconds", MEMORY, 1.0, "s", 1.0),
)
"""Name, resource, ratio of what was sold, unit, and how many of it are a second."""
PLUGS: Final = (("plug_two_vcpus_ms", 1.0, "ms", 1000.0), ("unplug_two_vcpus_seconds", 0.4, "s", 1.0))


def resizing_rows(host: Host, guest: Guest, progress: Callable[[str, int, int], None]) -> list[Row]:
    """Return how long a quota, a balloon and vCPUs take.

    Raises:
        TidegateError: the guest did not do as it was asked.

    """
    rows = []
    with LibvirtServer(
        host.uri, step_seconds=1, clock=SystemClock(), act=["*"], ledger_path=host.folder / "ledger.json"
    ) as server:
        for at, (name, resource, ratio, unit, units) in enumerate(WAYS):
            progress(name, at, len(WAYS) + len(PLUGS))
            rows.append(row(name, units * resized_seconds(server, resource, ratio), unit))
        guest.domain.setMetadata(2, '<policy plug="yes"/>', "tidegate", POLICY_URI, 1)
        for at, (name, ratio, unit, units) in enumerate(PLUGS, len(WAYS)):
            progress(name, at, len(WAYS) + len(PLUGS))
            rows.append(row(name, units * resized_seconds(server, CPU, ratio), unit))
    return rows


def resized_seconds(
    server: LibvirtServer, resource: int, ratio: float, good: Collection[int] = (Phase.APPLIED,)
) -> float:
    """Return how long it took until what was asked for was read back.

    Raises:
        TidegateError: it did not come about as one of ``good``.

    """
    server.read()
    actions = _resized(server.read(), resource, ratio)
    started = perf_counter()
    server.submit(actions)
    if not server.settle(SECONDS_MAX):
        raise TidegateError(f"a guest was not resized within {SECONDS_MAX:g} s")
    seconds = perf_counter() - started
    server.read()
    if not np.isin(server.collect().phase, list(good)).all():
        raise TidegateError("a guest did not do as it was asked; see its console")
    return seconds


def _resized(snapshot: Snapshot, resource: int, ratio: float) -> Actions:
    """Return the actions that give every VM a ratio of one resource."""
    workload = np.arange(len(snapshot.roster))
    place = snapshot.host.astype(np.int32)
    return Actions(
        time_seconds=snapshot.time_seconds,
        expires_seconds=snapshot.time_seconds + 60,
        kind=np.full(workload.size, Kind.RESIZE, dtype=np.uint8),
        workload=workload,
        workload_id=snapshot.roster.ids,
        resource_row=np.full(workload.size, resource, dtype=np.uint8),
        share=np.full(workload.size, HOST, dtype=np.uint8),
        place_from=place,
        place_to=place,
        amount_from=snapshot.grant[HOST, resource],
        amount_to=np.float32(ratio) * snapshot.capacity[resource],
        resources=snapshot.resources,
        place_names=snapshot.places.names,
    )
