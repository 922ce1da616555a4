"""Probes on the wire: nobody is amplified, and strangers are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.drivers.probes.packets import (
    ANSWER,
    PROBE_BYTES,
    QUESTION,
    QUESTION_BYTES_MAX,
    Packet,
    Token,
)
from tidegate.drivers.probes.sockets import host_and_port
from tidegate.model.errors import InputError

SECRET = b"sixteen bytes or"
NUMBER = st.integers(0, 2**64 - 1)
PACKETS = st.builds(
    Packet,
    kind=st.sampled_from((QUESTION, ANSWER)),
    session=NUMBER,
    number=NUMBER,
    asked_nanoseconds=NUMBER,
    received_nanoseconds=NUMBER,
    answered_nanoseconds=NUMBER,
)


@given(PACKETS, st.integers(PROBE_BYTES, QUESTION_BYTES_MAX), st.sampled_from((b"", SECRET)))
def test_what_was_packed_is_opened_by_those_who_know_the_secret(packet, length, secret):
    data = Token(secret).packed(packet, length)
    assert len(data) == length
    assert Token(secret).opened(data, packet.kind) == packet
    assert Token(secret).opened(data, QUESTION + ANSWER - packet.kind) is None
    assert Token(b"another secret, as long").opened(data, packet.kind) is None


@given(PACKETS, st.integers(0, PROBE_BYTES - 1), st.integers(1, 255))
def test_a_single_changed_byte_makes_it_a_strangers(packet, place, change):
    data = bytearray(Token(SECRET).packed(packet))
    data[place] ^= change
    assert Token(SECRET).opened(bytes(data), packet.kind) is None


@given(st.binary(max_size=2000), st.sampled_from((b"", SECRET)))
def test_any_bytes_are_no_packet_but_nothing_worse(data, secret):
    assert Token(secret).opened(data, QUESTION) is None


def test_an_answer_is_never_longer_than_any_question_that_is_answered():
    question = Token(b"").packed(Packet(kind=QUESTION, session=1, number=1, asked_nanoseconds=1))
    answer = Token(b"").packed(Packet(kind=ANSWER, session=1, number=1, asked_nanoseconds=1))
    assert len(answer) == len(question)
    assert Token(b"").opened(question[:-1], QUESTION) is None


def test_a_short_secret_is_refused():
    with pytest.raises(InputError, match="16 or more"):
        Token(b"short")


def test_addresses_are_read_as_people_write_them():
    assert host_and_port("10.0.0.1:7001") == ("10.0.0.1", 7001)
    assert host_and_port("card-a.example:7001") == ("card-a.example", 7001)
    assert host_and_port("[::1]:7001") == ("::1", 7001)
    for wrong in ("", "10.0.0.1", ":7001", "::1:7001", "card:x", "card:70000"):
        with pytest.raises(InputError, match="host:port"):
            host_and_port(wrong)
