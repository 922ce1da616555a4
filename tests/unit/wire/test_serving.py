"""A server on this machine: refusals come back whole, nothing sent ends it, every call has a deadline."""

from __future__ import annotations

import asyncio
import random
import socket
import stat
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal, RefusedInput
from tidegate.wire import limits
from tidegate.wire.addresses import address_of
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.dialing import dialled
from tidegate.wire.errors import DETAILS_KEY
from tidegate.wire.identities import Role
from tidegate.wire.serving import serving

METHODS = (
    "ApplicationService/CreateApplication",
    "ApplicationService/GetApplication",
    "ApplicationService/DeleteApplication",
    "TelemetryService/Connect",
)
GOOD = application_pb2.CreateApplicationRequest(
    parent="cards/card-a",
    application_id="one",
    application=application_pb2.Application(spec=application_pb2.ApplicationSpec(command=["true"])),
)


def run(address, program, clock, asks, **words):
    """Serve, and have a client ask."""

    async def both():
        async with (
            serving(address, program.services, clock=clock) as listening,
            dialled(listening.address, expects=Role.DEVICE, clock=clock) as line,
        ):
            return await asks(line, **words)

    return asyncio.run(asyncio.wait_for(both(), 30))


async def get(line, name, **words):
    with line.answers():
        stub = application_pb2_grpc.ApplicationServiceStub(line)
        return await stub.GetApplication(application_pb2.GetApplicationRequest(name=name), **words)


async def create(line, request=GOOD):
    with line.answers():
        return await application_pb2_grpc.ApplicationServiceStub(line).CreateApplication(request)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_call_is_answered_and_a_local_caller_may(kind, socket_address, program, clock):
    address = socket_address if kind == "unix" else "tcp:localhost:0"
    answer = run(address, program, clock, create)
    assert answer.application.name == "cards/card-a/applications/one"
    assert program.applications.callers == ["local"]


REFUSED = (
    ("cards/card-a/applications/two", Because.NOT_FOUND, "name", RefusedInput),
    ("card-a", Because.INVALID, "name", InputError),
    ("cards/card-a/applications/broken", Because.BROKEN, "", Refusal),
)


@pytest.mark.parametrize("refused", REFUSED)
def test_a_refusal_comes_back_with_its_kind_its_field_and_who_said_it(
    refused, socket_address, program, clock
):
    name, because, field, kind = refused
    with pytest.raises(kind) as caught:
        run(socket_address, program, clock, get, name=name)
    assert (caught.value.because, caught.value.field) == (because, field)
    assert socket_address in str(caught.value)


def test_nothing_is_told_of_what_is_unexpected_but_it_is_logged(socket_address, program, clock):
    with capture_logs() as told, pytest.raises(Refusal) as caught:
        run(socket_address, program, clock, get, name="cards/card-a/applications/broken")
    assert "swordfish" not in str(caught.value)
    assert "the secret is swordfish" in {str(one["exc_info"]) for one in told}


def test_a_bad_field_comes_with_the_details_of_google_rpc(socket_address, program, clock):
    async def ask(line):
        stub = application_pb2_grpc.ApplicationServiceStub(line)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.CreateApplication(application_pb2.CreateApplicationRequest(parent="nobody"))
        return caught.value

    error = run(socket_address, program, clock, ask)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    bad = error_details_pb2.BadRequest()
    assert status.message == error.details()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "parent"


def test_nobody_there_is_told_with_the_address_and_a_remedy(socket_address, clock):
    async def ask():
        async with dialled(socket_address, expects=Role.DEVICE, clock=clock) as line:
            await get(line, "cards/card-a/applications/one")

    with pytest.raises(Refusal, match="nobody answers at unix:") as caught:
        asyncio.run(ask())
    assert caught.value.because is Because.UNREACHABLE


def test_what_a_server_does_not_offer_is_told(socket_address, program, clock):
    async def ask(line):
        with line.answers():
            await application_pb2_grpc.ApplicationServiceStub(line).StopApplication(
                application_pb2.StopApplicationRequest()
            )

    with pytest.raises(Refusal) as caught:
        run(socket_address, program, clock, ask)
    assert caught.value.because is Because.UNSUPPORTED


# --- Deadlines ---------------------------------------------------------------------------------------


def test_every_call_has_a_deadline_also_where_nobody_names_one(socket_address, program, clock):
    async def ask(line):
        for words in ({}, {"timeout": 3}, {"timeout": 1e9}):
            with pytest.raises(RefusedInput):
                await get(line, "cards/card-a/applications/two", **words)
        call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect()
        await call.write(telemetry_pb2.ConnectRequest(heartbeat=telemetry_pb2.Heartbeat(time_nanoseconds=7)))
        assert (await call.read()).heartbeat.time_nanoseconds == 7
        await call.done_writing()

    run(socket_address, program, clock, ask)
    unnamed, named, too_long = program.applications.deadlines
    # The header that carries it has few digits.
    assert limits.CALL_SECONDS - 2 < unnamed < limits.CALL_SECONDS * 1.01
    assert 1 < named < 3.1
    assert too_long < limits.STREAM_SECONDS * 1.01
    assert program.telemetry.deadlines[0] == pytest.approx(limits.STREAM_SECONDS, rel=0.01)


def test_an_answer_that_takes_too_long_is_told_as_that(socket_address, program, clock):
    async def slow(self, request, context):
        await asyncio.sleep(5)

    type(program.applications).ListApplications = slow

    async def ask(line):
        with line.answers():
            stub = application_pb2_grpc.ApplicationServiceStub(line)
            await stub.ListApplications(application_pb2.ListApplicationsRequest(), timeout=0.2)

    try:
        with pytest.raises(Refusal, match="did not answer in time") as caught:
            run(socket_address, program, clock, ask)
    finally:
        del type(program.applications).ListApplications
    assert caught.value.because is Because.TOO_LATE


# --- What comes from outside -------------------------------------------------------------------------


def raw(channel, method):
    """Return a call that sends bytes as they are."""
    kind = channel.stream_stream if method.endswith("Connect") else channel.unary_unary
    return kind(f"/tidegate.card.v1.{method}", request_serializer=bytes, response_deserializer=bytes)


async def code_of(channel, method, data):
    call = raw(channel, method)
    try:
        if method.endswith("Connect"):
            async for _ in call(iter([data]), timeout=5):
                pass
        else:
            await call(data, timeout=5)
    except grpc.aio.AioRpcError as error:
        return error
    return None


def test_bytes_that_are_no_message_are_refused_and_change_nothing(socket_address, program, clock):
    generator = random.Random(7)
    good = {
        METHODS[0]: GOOD.SerializeToString(),
        METHODS[1]: application_pb2.GetApplicationRequest(name="cards/a/applications/b").SerializeToString(),
        METHODS[2]: b"",
        METHODS[3]: telemetry_pb2.ConnectRequest(
            hello=telemetry_pb2.Hello(server="web-1", incarnation="x", resources=[0, 1], allocatable=[1, 2])
        ).SerializeToString(),
    }
    broken = (b"\xff" * 9, b"\x0a\xff\xff\xff\xff\x7f", bytes(range(256)))

    async def ask(line):
        for method, sent in good.items():
            error = None
            for data in broken:
                error = await code_of(line, method, data)
                if method != METHODS[2]:
                    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (method, data, error)
            for _ in range(60):
                data = bytearray(sent or b"\0")
                for _ in range(generator.randint(1, 3)):
                    data[generator.randrange(len(data))] = generator.randrange(256)
                if method == METHODS[0] and _is_good(bytes(data)):
                    continue
                error = await code_of(line, method, bytes(data))
                assert error is None or error.code() is not grpc.StatusCode.INTERNAL, (method, error)
        assert program.applications.held == {}
        return await create(line)

    assert run(socket_address, program, clock, ask).application.name


def _is_good(data):
    """Whether what was changed is a request all the same, of another name or command."""
    try:
        message = application_pb2.CreateApplicationRequest.FromString(data)
    except DecodeError:
        return False
    return bool(message.parent and message.application_id and message.application.spec.command)


def test_what_is_too_large_is_refused_on_both_ends(socket_address, program, clock):
    huge = b"\x0a" + b"\xff\xff\xff\x02" + b"x" * (limits.MESSAGE_BYTES_MAX + 1)

    async def ask(line):
        with pytest.raises(Refusal, match="takes in no more") as caught, line.answers():
            await raw(line, METHODS[1])(huge)
        assert caught.value.because is Because.NO_ROOM
        unlimited = (("grpc.max_send_message_length", -1),)
        async with grpc.aio.insecure_channel(socket_address, options=unlimited) as channel:
            error = await code_of(channel, METHODS[1], huge)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            metadata = (("x-long", "y" * 4 * limits.METADATA_BYTES_MAX),)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await raw(channel, METHODS[1])(b"", timeout=5, metadata=metadata)
            assert caught.value.code() in {
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.INTERNAL,
            }
        return await create(line)

    assert run(socket_address, program, clock, ask).application.name


def test_what_is_no_http_ends_its_own_connection_and_no_other(program, clock):
    async def ask(line):
        address = address_of(line.address)
        for garbage in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0" * 4096,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
            writer.write(garbage)
            await writer.drain()
            await asyncio.wait_for(reader.read(-1), 10)
            writer.close()
        return await create(line)

    assert run("tcp:127.0.0.1:0", program, clock, ask).application.name


# --- Where it listens --------------------------------------------------------------------------------


def test_a_socket_is_closed_to_others_and_gone_at_the_end(socket_address, program, clock):
    path = Path(socket_address.removeprefix("unix:"))

    def mode():
        return stat.S_IMODE(path.stat().st_mode)

    async def ask(line):
        return mode()

    assert run(socket_address, program, clock, ask) == 0o660
    assert not path.exists()


def test_a_socket_somebody_listens_on_is_left_to_them(socket_address, program, clock):
    async def ask(line):
        with pytest.raises(InputError, match="somebody listens"):
            async with serving(socket_address, program.services, clock=clock):
                pass
        return await create(line)

    assert run(socket_address, program, clock, ask).application.name


def test_a_stale_socket_is_replaced(socket_address, program, clock):
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(socket_address.removeprefix("unix:"))
    assert run(socket_address, program, clock, create).application.name


def test_a_file_is_never_taken_for_a_socket(socket_address, program, clock):
    path = Path(socket_address.removeprefix("unix:"))
    path.write_text("precious")
    with pytest.raises(InputError, match="no socket"):
        run(socket_address, program, clock, create)
    assert path.read_text() == "precious"


def test_a_port_is_not_shared(program, clock):
    async def ask(line):
        with pytest.raises(InputError, match="can't be listened on"):
            async with serving(line.address, program.services, clock=clock):
                pass

    run("tcp:127.0.0.1:0", program, clock, ask)


@pytest.mark.parametrize(
    "address", ["tcp:0.0.0.0:0", "tcp:10.0.0.1:7000", "tcp:[::]:0", "tcp:card-a.lan:7000"]
)
def test_other_machines_are_not_served_nor_asked_without_certificates(address, program, clock):
    async def serve():
        async with serving(address, program.services, clock=clock):
            pass

    async def dial():
        async with dialled(address, expects=Role.DEVICE, clock=clock):
            pass

    for attempt in (serve, dial):
        with pytest.raises(InputError, match="certificates"):
            asyncio.run(attempt())


# --- Health, reflection, the end ---------------------------------------------------------------------


def test_health_and_reflection_tell_what_is_served(socket_address, program, clock):
    async def ask(line):
        health = health_pb2_grpc.HealthStub(line)
        for service in ("", "tidegate.card.v1.ApplicationService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(line)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in stub.ServerReflectionInfo(iter([request])):
            return {service.name for service in answer.list_services_response.service}
        return set()

    assert run(socket_address, program, clock, ask) >= {
        "tidegate.card.v1.ApplicationService",
        "tidegate.card.v1.TelemetryService",
        "grpc.health.v1.Health",
    }


def test_a_call_may_end_within_the_grace_and_is_cut_off_after_it(socket_address, program, clock):
    async def go(grace_seconds):
        async with dialled(socket_address, expects=Role.DEVICE, clock=clock) as line:
            async with serving(
                socket_address, program.services, clock=clock, grace_seconds=grace_seconds
            ) as listening:
                call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect()
                await call.write(telemetry_pb2.ConnectRequest(heartbeat=telemetry_pb2.Heartbeat()))
                await call.read()
                if grace_seconds > 1:
                    await call.done_writing()
            await listening.ended()
            with line.answers():
                return await call.read()

    assert asyncio.run(go(5)) is grpc.aio.EOF
    with pytest.raises(Refusal):
        asyncio.run(go(0.1))
