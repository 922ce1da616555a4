"""Mutual TLS: only the right role and name of the right authority, in time, and nobody revoked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tidegate.app.certificates import Authority
from tidegate.app.certificates.making import LEAF_DAYS
from tidegate.model.errors import InputError
from tidegate.model.refusals import Because, Refusal
from tidegate.testing import ManualClock
from tidegate.wire.card.v1 import application_pb2, application_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from tidegate.wire.certificates import read_certificates
from tidegate.wire.dialing import dialled
from tidegate.wire.identities import Identity, Role, identity_of
from tidegate.wire.serving import serving

DAY = 86_400
GOOD = application_pb2.CreateApplicationRequest(
    parent="cards/card-a",
    application_id="one",
    application=application_pb2.Application(spec=application_pb2.ApplicationSpec(command=["true"])),
)


@pytest.fixture
def served(program, clock, authority):
    """Run what asks with the address of a server that shows a certificate of device `card-a`."""
    folder = authority.issue(Role.DEVICE, "card-a")

    def go(asks, *, folder=folder, clock=clock):
        async def both():
            async with serving(
                "tcp:127.0.0.1:0", program.services, clock=clock, certificates=folder
            ) as listening:
                return await asks(listening.address)

        return asyncio.run(asyncio.wait_for(both(), 30))

    return go


def asking(certificates, clock, expects=Role.DEVICE, request=GOOD):
    async def ask(address):
        async with dialled(address, expects=expects, clock=clock, certificates=certificates) as line:
            with line.answers():
                stub = application_pb2_grpc.ApplicationServiceStub(line)
                return await stub.CreateApplication(request)

    return ask


def test_whoever_has_the_right_role_is_known_by_name(served, program, clock, authority):
    ann = authority.issue(Role.OPERATOR, "ann")
    served(asking(ann, clock, Identity(Role.DEVICE, "card-a")))
    assert program.applications.callers == ["tidegate:operator:ann"]


def test_another_role_may_not(served, program, clock, authority):
    agent = authority.issue(Role.AGENT, "web-1")
    with pytest.raises(Refusal, match="tidegate:agent:web-1 may not") as caught:
        served(asking(agent, clock))
    assert caught.value.because is Because.NOT_ALLOWED
    assert program.applications.held == {}


def test_an_agent_may_not_speak_for_another(served, program, clock, authority):
    agent = authority.issue(Role.AGENT, "web-1")

    async def greet(address, server):
        async with dialled(address, expects=Role.DEVICE, clock=clock, certificates=agent) as line:
            with line.answers():
                hello = telemetry_pb2.Hello(
                    server=server, incarnation="a", resources=[0], step_nanoseconds=10**9, allocatable=[4]
                )
                call = telemetry_pb2_grpc.TelemetryServiceStub(line).Connect(
                    iter([telemetry_pb2.ConnectRequest(hello=hello)])
                )
                return await call.read()

    assert served(lambda address: greet(address, "web-1")).welcome.card == "card-a"
    with pytest.raises(Refusal, match="may not speak as 'web-2'"):
        served(lambda address: greet(address, "web-2"))
    assert program.telemetry.heard == ["web-1"]


def test_a_caller_without_or_with_a_foreign_certificate_is_refused(
    served, program, clock, tmp_path, authority
):
    other = Authority(tmp_path / "other", clock)
    other.init()
    eve = other.issue(Role.OPERATOR, "eve")
    with pytest.raises(Refusal, match="is not believed") as caught:
        served(asking(eve, clock))
    assert caught.value.because is Because.UNREACHABLE
    # Eve believes the server now; the server still does not believe Eve.
    mixed = tmp_path / "mixed"
    shutil.copytree(eve, mixed)
    mixed.joinpath("ca.pem").write_bytes(
        (eve / "ca.pem").read_bytes() + (authority.folder / "ca.pem").read_bytes()
    )
    for certificates in (mixed, None):
        with pytest.raises(Refusal, match="nobody answers at tcp:127"):
            served(asking(certificates, clock))
    assert (program.applications.held, program.applications.callers) == ({}, [])


@pytest.mark.parametrize(
    "expects", [Role.FLEET, Identity(Role.DEVICE, "card-b"), Identity(Role.FLEET, "card-a")]
)
def test_a_server_that_is_another_than_expected_is_not_asked(expects, served, program, clock, authority):
    ann = authority.issue(Role.OPERATOR, "ann")
    with pytest.raises(Refusal, match="somebody else answers"):
        served(asking(ann, clock, expects))
    assert program.applications.callers == []


def test_a_role_that_only_asks_can_not_serve(served, clock, authority):
    ann, agent = authority.issue(Role.OPERATOR, "ann"), authority.issue(Role.AGENT, "web-1")
    with pytest.raises(Refusal):
        served(asking(ann, clock, Role.AGENT), folder=agent)


def test_an_expired_certificate_is_refused_on_both_ends(served, program, clock, authority):
    past = ManualClock(clock.now_seconds() - (LEAF_DAYS + 1) * DAY)
    old = Authority(authority.folder.parent / "old", past)
    old.init()
    # TLS looks at the machine's clock: ours, which is behind, lets both read what has expired.
    late, good = old.issue(Role.OPERATOR, "ann"), Authority(old.folder, clock).issue(Role.DEVICE, "card-b")
    with pytest.raises(Refusal, match="nobody answers"):
        served(asking(late, past), folder=good)
    assert program.applications.callers == []
    with pytest.raises(InputError, match="has expired; 'tidegate certs rotate'"):
        served(asking(late, clock), folder=good)
    expired_server = old.issue(Role.DEVICE, "card-c")
    ann = Authority(old.folder, clock).issue(Role.OPERATOR, "bob")
    with pytest.raises(Refusal, match="is not believed: it has expired"):
        served(asking(ann, clock), folder=expired_server, clock=past)
    with pytest.raises(InputError, match="has expired"):
        served(asking(ann, clock), folder=expired_server)


def test_a_connection_does_not_outlive_its_certificate(served, program, clock, authority):
    ann = authority.issue(Role.OPERATOR, "ann")

    async def ask(address):
        async with dialled(address, expects=Role.DEVICE, clock=clock, certificates=ann) as line:
            stub = application_pb2_grpc.ApplicationServiceStub(line)
            await stub.CreateApplication(GOOD)
            clock.advance((LEAF_DAYS + 1) * DAY)
            with line.answers():
                await stub.CreateApplication(GOOD)

    with pytest.raises(Refusal, match="has expired") as caught:
        served(ask)
    assert caught.value.because is Because.UNKNOWN_PEER
    assert len(program.applications.callers) == 1


def test_who_was_revoked_is_refused_at_once_and_others_are_not(served, program, clock, authority):
    ann, bob = authority.issue(Role.OPERATOR, "ann"), authority.issue(Role.OPERATOR, "bob")

    async def ask(address):
        async with dialled(address, expects=Role.DEVICE, clock=clock, certificates=ann) as line:
            stub = application_pb2_grpc.ApplicationServiceStub(line)
            await stub.CreateApplication(GOOD)
            authority.revoke(Role.OPERATOR, "ann")
            with pytest.raises(Refusal, match="tidegate:operator:ann was revoked") as caught, line.answers():
                await stub.CreateApplication(GOOD)
            assert caught.value.because is Because.UNKNOWN_PEER
        again = application_pb2.CreateApplicationRequest()
        again.CopyFrom(GOOD)
        again.application_id = "two"
        await asking(bob, clock, request=again)(address)

    served(ask)
    assert program.applications.callers == ["tidegate:operator:ann", "tidegate:operator:bob"]


def test_a_server_takes_renewed_certificates_and_a_new_authority_without_a_restart(served, clock, authority):
    ann = authority.issue(Role.OPERATOR, "ann")

    def number(name):
        request = application_pb2.CreateApplicationRequest()
        request.CopyFrom(GOOD)
        request.application_id = name
        return request

    async def ask(address):
        await asking(ann, clock, request=number("a"))(address)
        authority.rotate_authority()
        await asking(ann, clock, request=number("b"))(address)
        authority.rotate(everybody=True)
        await asking(ann, clock, request=number("c"))(address)
        authority.forget_old()
        await asking(ann, clock, request=number("d"))(address)

    served(ask)


def test_a_server_goes_on_with_what_it_had_where_what_is_new_can_not_be_used(
    served, clock, authority, capsys
):
    ann = authority.issue(Role.OPERATOR, "ann")

    async def ask(address):
        (authority.folder / "issued/device/card-a/identity.pem").write_text("half a fi")
        await asking(ann, clock)(address)

    served(ask)
    said = capsys.readouterr()
    assert "new certificates are not used" in said.out + said.err


# --- The folder --------------------------------------------------------------------------------------


@pytest.fixture
def folder(authority):
    return authority.issue(Role.DEVICE, "card-a")


def test_a_folder_is_read_whole(folder):
    held = read_certificates(folder)
    assert held.identity == Identity(Role.DEVICE, "card-a")
    assert held.ends_seconds - held.begins_seconds == pytest.approx(LEAF_DAYS * DAY, abs=2 * 3600)


def swap_keys(folder, other):
    mark = b"-----BEGIN CERTIFICATE-----"
    own, foreign = (folder / "identity.pem").read_bytes(), (other / "identity.pem").read_bytes()
    (folder / "identity.pem").write_bytes(foreign.split(mark)[0] + mark + own.split(mark)[1])


def broken(name, change):
    return lambda folder, _: change(folder / name)


BREAKS = (
    (broken("identity.pem", Path.unlink), "can't be read"),
    (broken("ca.pem", Path.unlink), "can't be read"),
    (broken("identity.pem", lambda path: path.chmod(0o604)), "open to everybody"),
    (broken("identity.pem", lambda path: path.write_text("x")), "no key and certificate"),
    (broken("ca.pem", lambda path: path.write_text("x")), "no certificate"),
    (broken("ca.pem", lambda path: path.write_bytes(b"x" * 2**20 + b"x")), "more than"),
    (broken("revoked.pem", lambda path: path.write_text("x")), "no list"),
    (lambda folder, other: shutil.copy(other / "ca.pem", folder), "of no authority"),
    (lambda folder, other: shutil.copy(other / "revoked.pem", folder), "signed by no authority"),
    (swap_keys, "not of one pair"),
)


@pytest.mark.parametrize(("breaks", "said"), BREAKS)
def test_a_folder_that_does_not_fit_is_refused_by_its_file(breaks, said, folder, clock, tmp_path):
    other = Authority(tmp_path / "other", clock)
    other.init()
    eve = other.issue(Role.DEVICE, "eve")
    other.revoke(Role.DEVICE, "eve")
    breaks(folder, eve)
    with pytest.raises(InputError, match=said) as caught:
        read_certificates(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["tidegate:agent", "tidegate:king:x", "spiffe:agent:x", "tidegate:agent:a:b", ""]
)
def test_what_names_nobody_is_nobody(text):
    assert identity_of(text) is None
