"""What a card tells over the wire is what the fleet manager knows of it."""

from __future__ import annotations

from tidegate.agents.fleet.over_wire import _application_seen
from tidegate.wire.card.v1 import application_pb2


def test_latency_arrives_in_seconds():
    told = application_pb2.Application(
        name="cards/a/applications/web",
        spec=application_pb2.ApplicationSpec(command=["serve"]),
        status=application_pb2.ApplicationStatus(
            state=application_pb2.APPLICATION_STATE_RUNNING, latency_p99_nanoseconds=4_000_000
        ),
    )
    assert _application_seen(told).latency_p99_seconds == 0.004
