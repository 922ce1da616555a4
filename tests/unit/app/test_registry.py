"""Names people type: what they stand for, and what is said where nobody goes by a name."""

from __future__ import annotations

import pytest

from tidegate.app import registry
from tidegate.app.registry import POLICIES, SLA_POLICIES, Settings, policy
from tidegate.forecast.nothing import NothingForecaster
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.plan.policies.static import Static

SETTINGS = Settings(resources=(Resource.CPU,), step_seconds=300)


class PlugIn:
    name = "mine"

    @staticmethod
    def load():
        return lambda _settings: (NothingForecaster(), Static())


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"oracle"}))
def test_a_name_gives_a_new_forecaster_and_planner_each_time(name):
    first, second = policy(name)(SETTINGS), policy(name)(SETTINGS)
    assert first[0] is not second[0]
    assert first[1] is not second[1] or not hasattr(first[1], "state")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError) as caught:
        policy("vpaa")
    said = str(caught.value)
    assert said.startswith("unknown policy 'vpaa'; choose from ")
    assert said.split("choose from ")[1].split(", ") == sorted(POLICIES)


def test_the_oracle_needs_a_future():
    with pytest.raises(InputError, match="replay only"):
        policy("oracle")(SETTINGS)


def test_a_plug_in_is_found_by_its_entry_point_and_named_among_the_known(monkeypatch):
    groups = {"tidegate.policies": [PlugIn]}
    monkeypatch.setattr(registry, "entry_points", lambda *, group: groups.get(group, []))
    assert isinstance(policy("mine")(SETTINGS)[1], Static)
    with pytest.raises(InputError, match=r"\bmine\b"):
        policy("yours")


def test_a_plug_in_does_not_displace_ours(monkeypatch):
    class Impostor(PlugIn):
        name = "vpa"

    monkeypatch.setattr(registry, "entry_points", lambda **_: [Impostor])
    assert policy("vpa") is POLICIES["vpa"]


def test_policies_that_follow_an_sla_exist():
    assert set(POLICIES) >= SLA_POLICIES
