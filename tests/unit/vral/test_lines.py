"""Every line that is no request is answered exactly; nothing that comes in raises anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.vral import lines
from tidegate.vral.lines import Garbled, parsed

CLAIM = {"v": 1, "id": "r", "do": "claim", "kind": "cpu", "wanted": 2}


def line(**fields):
    said = CLAIM | fields
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


def test_a_claim_is_read_with_its_defaults():
    claim = parsed(line()).claim
    assert (claim.least, claim.wanted, claim.burst) == (2.0, 2.0, 2.0)
    assert (claim.ttl_seconds, claim.deadline_seconds, claim.near) == (60.0, 30.0, False)


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        (b"hello", "not_json", ""),
        (b"[1]", "not_object", ""),
        (b"\xff\xfe", "not_utf8", ""),
        (b"[" * 4000, "not_json", ""),
        (b"x" * 4097, "too_long", ""),
        (line(id=...), "invalid", "id"),
        (line(id=7), "invalid", "id"),
        (line(id="x" * 65), "invalid", "id"),
        (line(v=2), "version", "v"),
        (line(v=True), "version", "v"),
        (line(do="dance"), "unknown_request", "do"),
        (line(do=["claim"]), "unknown_request", "do"),
        (line(kind="time"), "invalid", "kind"),
        (line(kind=...), "invalid", "kind"),
        (line(wanted="2"), "invalid", "wanted"),
        (line(wanted=-1), "invalid", "wanted"),
        (line(wanted=0), "invalid", "wanted"),
        (line(wanted=1e300), "invalid", "wanted"),
        (line(min=3), "invalid", "wanted"),
        (line(burst=1), "invalid", "wanted"),
        (line(ttl_seconds=0), "invalid", "ttl_seconds"),
        (line(ttl_seconds=1e9), "invalid", "ttl_seconds"),
        (line(deadline_seconds=-1), "invalid", "deadline_seconds"),
        (line(near=1), "invalid", "near"),
        (line(**{"class": 9}), "invalid", "class"),
        (line(colour="red"), "invalid", "colour"),
        (line(vm="b"), "invalid", "vm"),
        (b'{"v":1,"id":"r","do":"claim","kind":"cpu","wanted":1e999}', "not_json", ""),
        (b'{"v":1,"id":"r","do":"claim","kind":"cpu","wanted":NaN}', "not_json", ""),
        (b'{"v":1,"id":"r","do":"renew"}', "invalid", "lease"),
        (b'{"v":1,"id":"r","do":"release","lease":""}', "invalid", "lease"),
        (b'{"v":1,"id":"r","do":"watch","seconds":301}', "invalid", "seconds"),
    ],
)
def test_what_is_wrong_is_named(said, code, field):
    with pytest.raises(Garbled) as found:
        parsed(said)
    assert (found.value.code, found.value.field) == (code, field)
    answer = json.loads(lines.garbled(found.value))
    assert answer["ok"] is False
    assert answer["error"]["say"]


def test_an_error_says_which_request_it_was():
    with pytest.raises(Garbled) as found:
        parsed(line(kind="time"))
    assert json.loads(lines.garbled(found.value))["id"] == "r"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["v", "id", "do", "kind", "wanted", "min", "burst", "class", "lease", "seconds", "near", "vm", "x"]
)


def never_raises_out(said):
    try:
        request = parsed(said)
    except Garbled as problem:
        answer = lines.garbled(problem)
    else:
        answer = lines.answer(request.id)
    assert answer.endswith(b"\n")
    assert answer.count(b"\n") == 1
    assert len(answer) <= lines.LINE_BYTES_MAX
    json.loads(answer)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_answered(said):
    never_raises_out(said)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(FIELDS, VALUES), st.sampled_from(lines.DOES), st.text(min_size=1, max_size=70))
def test_nearly_right_requests_are_answered(fields, do, name):
    said = {"v": 1, "id": name, "do": do, "kind": "cpu", "wanted": 1.0} | fields
    never_raises_out(json.dumps(said).encode("utf-8", "surrogatepass"))
