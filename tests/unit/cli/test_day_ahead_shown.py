"""The coming day where people see it: `tidegate profile`, and the figures that `tidegate up` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidegate.app.artefacts import model_store
from tidegate.app.day_ahead import Beside, DayAheadOptions, spoken_by
from tidegate.app.day_ahead_shown import day_figures
from tidegate.app.machine import MachineOptions, running
from tidegate.app.resume import memory_of
from tidegate.app.side_by_side import SideBySide
from tidegate.app.wiring import simulated
from tidegate.cli.main import run
from tidegate.cli.up_figures import figures
from tidegate.cli.worlds import made_world
from tidegate.drivers.simulated.build import read_scenario
from tidegate.forecast.profile import Profile
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.writer import opened
from tidegate.learn.observing import Observing
from tidegate.score.card_pressure import CardPressure
from tidegate.testing import ManualClock

TWO_SERVERS = Path(__file__).resolve().parents[3] / "examples/scenarios/two_servers_one_card.toml"
TICKS = 2 * 288 + 12
"""Two days of five minutes, and an hour: what was said after the first day is measured in the second."""


def world():
    read = read_scenario(TWO_SERVERS)
    return made_world(read, (), scenario=TWO_SERVERS, step_seconds=None, sla=None, seed=0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A day said of a small simulated fleet: its journal, and its last tick."""
    where = location(str(tmp_path_factory.mktemp("day") / "simulated.db"))
    fleet_of = world()
    step, resources = fleet_of.trace.step_seconds, fleet_of.trace.resources
    options = DayAheadOptions(model="profile")
    with opened(where, {"loop": "simulated"}) as journal:
        store = model_store(None, ManualClock(0))
        spoken = spoken_by(options, store, resources, step_seconds=step, seed=0)
        beside = Beside(options, spoken, resources=resources, step_seconds=step, tell=pytest.fail)
        profile = Profile(step_seconds=step)
        loop = simulated(
            fleet_of,
            fleet_of.start(),
            policy_name="static",
            journal=journal,
            learner=Observing(profile, profile),
            around=beside,
        )
        for _ in range(TICKS):
            tick = loop.tick()
            beside._aside.close()  # the next tick finds it done
        beside.close()
        journal.checkpoint_at_once(tick.number, memory_of(loop))
        return where, tick


def test_profile_draws_the_coming_day_and_says_who_said_it(ran, capsys):
    where, _ = ran
    assert run(["profile", "app-1", "--journal", str(where.path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Coming day, hour by hour from 01:00: " in text
    assert "(95% sure: below" in text
    assert "said by profile" in text
    assert "as it was its turn." in text
    assert "of hours stayed below what was 95% sure a day before." in text


def test_hours_are_those_of_the_time_zone_asked_for(ran, capsys):
    where, _ = ran
    assert run(["profile", "app-1", "--journal", str(where.path), "--timezone", "Asia/Tokyo"]) == 0
    assert "Coming day, hour by hour from 10:00: " in " ".join(capsys.readouterr().out.split())


def test_machines_read_every_hour_of_it(ran, tmp_path):
    where, _ = ran
    path = tmp_path / "x.json"
    assert run(["profile", "app-1", "--journal", str(where.path), "--json", str(path)]) == 0
    (cpu,) = json.loads(path.read_text("utf-8"))["resources"]
    day = cpu["day"]
    assert (day["model"], day["levels"]) == ("profile", [0.5, 0.9, 0.95, 0.99])
    assert [len(hours) for hours in day["peaks"]] == [24] * 4
    assert all(amount is not None and 0 <= amount <= cpu["capacity"] for amount in day["peaks"][0])
    assert day["start_seconds"] % 3600 == 0
    assert 0 < day["loss"] < 1


def test_a_journal_without_days_says_nothing_of_them(lived, tmp_path, capsys):
    path = tmp_path / "x.json"
    assert run(["profile", "app-1", "--journal", str(lived), "--json", str(path)]) == 0
    assert "Coming day" not in capsys.readouterr().out
    assert json.loads(path.read_text("utf-8"))["resources"][0]["day"] is None


def test_machines_read_what_is_known_of_a_fleet_and_how_right_it_was(ran):
    _, tick = ran
    cpu = day_figures(tick.forecast.day, tick.snapshot.resources)[0]
    assert (cpu["resource"], cpu["models"]) == ("cpu", ["profile"])
    assert cpu["series_known"] == cpu["series"] > 0
    assert cpu["loss"] > 0
    assert list(cpu["coverage"]) == ["0.5", "0.9", "0.95", "0.99"]


def test_up_leaves_it_among_its_figures_and_nothing_where_nobody_looks():
    for model, resources in (("profile", 2), ("off", 0), (None, 0)):
        both = SideBySide(
            world(),
            policy_name="static",
            seed=0,
            scorer=CardPressure(),
            day_ahead=DayAheadOptions(model=model),
        )
        both.tick()
        both.close()
        left = figures(both, seed=0, sla=None, seconds=1.0)["day_ahead"]
        assert [row["series_known"] for row in left] == [0] * resources


def test_this_machine_has_a_day_ahead_too(tmp_path):
    options = MachineOptions(
        policy="calibrated_reactive",
        ledger=tmp_path / "limits.json",
        day_ahead=DayAheadOptions(model="seasonal_naive"),
    )
    with running(location(str(tmp_path / "machine.db")), options) as machine:
        tick = machine.tick()
    assert tick.forecast.day.slot_seconds == 300
    assert tick.forecast.day.quantiles.shape[2:] == tick.snapshot.used.shape
