"""Amounts, names and clocks survive the wire, and what can't be is refused with its field."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.application import Amounts
from tidegate.model.errors import InputError
from tidegate.model.refusals import InvalidField
from tidegate.wire import names
from tidegate.wire.amounts import AMOUNT_MAX, to_message, to_record
from tidegate.wire.card.v1 import amounts_pb2
from tidegate.wire.clocks import duration, nanoseconds, seconds, whole_seconds

counts = st.none() | st.integers(0, AMOUNT_MAX)
ratios = st.none() | st.floats(0, 1e6)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)


@given(
    st.builds(
        Amounts,
        cpu_cores=ratios,
        memory_bytes=counts,
        gpu_fraction=ratios,
        network_bytes_per_second=counts,
        storage_bytes_per_second=counts,
    )
)
def test_amounts_survive_to_a_thousandth_and_what_is_not_said_stays_so(amounts):
    again = to_record(amounts_pb2.Amounts.FromString(to_message(amounts).SerializeToString()))
    assert again.known().keys() == amounts.known().keys()
    for name, amount in amounts.known().items():
        assert (again.known()[name] == 0) == (amount == 0)
        if name in {"cpu_cores", "gpu_fraction"}:
            assert again.known()[name] == pytest.approx(amount, abs=0.00101)
        else:
            assert again.known()[name] == amount


@pytest.mark.parametrize("amount", [-1, AMOUNT_MAX + 1, 2**63 - 1, -(2**63)])
def test_amounts_that_cannot_be_are_refused_by_field_and_limit(amount):
    with pytest.raises(InvalidField, match="memory_bytes: ") as caught:
        to_record(amounts_pb2.Amounts(memory_bytes=amount))
    assert (caught.value.field, caught.value.limit) == ("memory_bytes", AMOUNT_MAX)


def test_what_is_too_large_to_send_is_refused_before_it_is_sent():
    with pytest.raises(InputError, match="cpu_millis"):
        to_message(Amounts(cpu_cores=1e300))


@given(NAMES, NAMES, NAMES)
def test_names_survive(card, application, last):
    assert names.card_of(names.card_name(card)) == card
    one = names.ApplicationName(card, application)
    assert names.application_of(str(one)) == one
    assert names.profile_of(names.profile_name(one)) == one
    adjustment = names.AdjustmentName(card, application, last)
    assert names.adjustment_of(str(adjustment)) == adjustment
    migration = names.MigrationName(card, last)
    assert names.migration_of(str(migration)) == migration
    assert names.watched_of(str(one)) == (card, application)
    assert names.watched_of(f"cards/{card}") == (card, "")


@given(st.text(max_size=40) | st.just("cards/" + "a" * 64) | st.just("cards/a/applications/../x"))
def test_what_is_no_name_is_refused_with_the_form_it_should_have(text):
    with pytest.raises(InvalidField, match="is not of the form cards/") as caught:
        names.application_of(text, "parent")
    assert caught.value.field == "parent"
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "text", ["cards/a/applications/b\n", "cards//applications/b", "cards/a/applications/b/"]
)
def test_names_are_taken_to_their_last_letter(text):
    with pytest.raises(InvalidField):
        names.application_of(text)


@given(st.floats(0, 4e9))
def test_seconds_survive_to_a_microsecond(moment):
    assert seconds(nanoseconds(moment), "time") == pytest.approx(moment, abs=1e-6)


@given(st.integers(0, 9_000_000_000))
def test_whole_seconds_are_exact(moment):
    assert whole_seconds(nanoseconds(moment), "time") == moment


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf, 1e10])
def test_times_that_cannot_be_sent_are_refused(bad):
    with pytest.raises(InvalidField, match="can't be sent"):
        nanoseconds(bad)


def test_durations_have_a_limit_and_zero_says_nothing():
    assert duration(0, "grace", unset=10.0) == 10.0
    assert duration(1_500_000_000, "grace") == 1.5
    for bad in (-1, 2**62):
        with pytest.raises(InvalidField, match=r"grace: .* no duration"):
            duration(bad, "grace")
