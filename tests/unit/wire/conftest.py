"""A real server of two services, certificates for it, and what a client of each kind hears."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from tidegate.app.certificates import Authority
from tidegate.model.refusals import Because, Refusal
from tidegate.testing import ManualClock
from tidegate.wire import names
from tidegate.wire.applications import spec_record
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.frames import greeting_record
from tidegate.wire.identities import Role, require
from tidegate.wire.serving import Served

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # handshakes fail here on purpose


@dataclass
class Applications(application_pb2_grpc.ApplicationServiceServicer):
    """Takes applications in by their specs, and remembers."""

    held: dict = field(default_factory=dict)
    callers: list = field(default_factory=list)
    deadlines: list = field(default_factory=list)

    async def CreateApplication(self, request, context):  # noqa: N802 - gRPC's
        self.callers.append(str(require(context, Role.OPERATOR, Role.FLEET)))
        card = names.card_of(request.parent, "parent")
        name = names.application_id(request.application_id)
        spec = spec_record(request.application.spec)
        if name in self.held:
            raise Refusal(Because.EXISTS, f"there is an application '{name}'", field="application_id")
        self.held[name] = spec
        made = application_pb2.Application(name=str(names.ApplicationName(card, name)))
        return application_pb2.CreateApplicationResponse(application=made)

    async def GetApplication(self, request, context):  # noqa: N802 - gRPC's
        self.deadlines.append(context.time_remaining())
        found = names.application_of(request.name)
        if found.application == "broken":
            raise RuntimeError("the secret is swordfish")
        if found.application not in self.held:
            raise Refusal(Because.NOT_FOUND, f"there is no application '{found.application}'", field="name")
        return application_pb2.GetApplicationResponse()


@dataclass
class Telemetry(telemetry_pb2_grpc.TelemetryServiceServicer):
    """Greets agents and echoes their heartbeats."""

    heard: list = field(default_factory=list)
    deadlines: list = field(default_factory=list)

    async def Connect(self, request_iterator, context):  # noqa: N802 - gRPC's
        self.deadlines.append(context.time_remaining())
        async for message in request_iterator:
            if message.HasField("hello"):
                greeting = greeting_record(message.hello)
                require(context, Role.AGENT, name=greeting.server)
                self.heard.append(greeting.server)
                yield telemetry_pb2.ConnectResponse(welcome=telemetry_pb2.Welcome(card="card-a"))
            else:
                yield telemetry_pb2.ConnectResponse(heartbeat=message.heartbeat)


@dataclass
class Program:
    """What a server in a test serves."""

    applications: Applications = field(default_factory=Applications)
    telemetry: Telemetry = field(default_factory=Telemetry)

    @property
    def services(self):
        one = application_pb2_grpc.add_ApplicationServiceServicer_to_server
        other = telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server
        return [
            Served("tidegate.card.v1.ApplicationService", lambda server: one(self.applications, server)),
            Served("tidegate.card.v1.TelemetryService", lambda server: other(self.telemetry, server)),
        ]


@pytest.fixture
def program():
    return Program()


@pytest.fixture
def clock():
    """The time of day: TLS itself looks at the machine's clock, not at ours."""
    import time

    return ManualClock(int(time.time()))


@pytest.fixture
def authority(tmp_path, clock):
    made = Authority(tmp_path / "authority", clock)
    made.init()
    return made


@pytest.fixture
def socket_address(tmp_path):
    return f"unix:{tmp_path}/card.sock"
