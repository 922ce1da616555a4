"""`tidegate vral`: leases as the host's operator sees and makes them, at an agent that really serves."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tidegate.agents.vral.desk import Desk
from tidegate.agents.vral.journal import Journal
from tidegate.agents.vral.serving import Serving
from tidegate.cli.main import run
from tidegate.model.resources import Resource
from tidegate.vral.supplies import HOST, Market, Supply


class Still:
    """A server of one VM whose market a test sets."""

    settable = np.ones((1, 1), dtype=np.bool_)


@pytest.fixture
def folder():
    """Where a VM `web`, which holds four cores, may claim."""
    with tempfile.TemporaryDirectory(prefix="tv-") as name:
        journal = Journal(Path(name), boot="boot")
        serving = Serving(
            Still(),
            journal,
            Path(name),
            machine={},
            forwards_seconds=lambda: 1000.0,
            further={},
            doors=lambda: None,
        )
        assert isinstance(serving.desk, Desk)
        supply = Supply(
            name=HOST,
            amount=8.0,
            held=np.array([4.0]),
            most=np.array([4.0]),
            reserved=np.zeros(1),
            reserved_sum=0.0,
        )
        serving.desk.look(
            Market(
                rows={"web": 0},
                ids=(1,),
                priorities=(1,),
                supplies={Resource.CPU: (supply,)},
                predicted={Resource.CPU: np.array([np.nan])},
                lead_seconds=60.0,
            )
        )
        with serving.running():
            yield name
        journal.close()


def test_claims_lists_and_releases(folder, capsys, tmp_path):
    out = tmp_path / "out.json"
    claim = ["vral", "claim", "web", "cpu", "2", "--min", "1", "--ttl", "90s", "--vral", folder]
    assert run([*claim, "--json", str(out)]) == 0
    lease = json.loads(out.read_text())["lease"]
    assert "web holds lease-1: 2.00 cores of cpu, healthy, for 90 s." in capsys.readouterr().out
    assert run(["vral", "list", "--vral", folder, "--json", str(out)]) == 0
    (listed,) = json.loads(out.read_text())["leases"]
    assert (listed["vm"], listed["served"]) == ("web", {"host": 2.0})
    assert "lease-1" in capsys.readouterr().out
    assert run(["vral", "release", "web", lease["lease"], "--vral", folder]) == 0
    assert run(["vral", "list", "--vral", folder]) == 0
    assert "No VM holds a lease." in capsys.readouterr().out


def test_failure_is_a_sentence_that_names_what_is_missing(folder, capsys):
    assert run(["vral", "claim", "web", "cpu", "6", "--vral", folder]) == 1
    assert "2 cores of cpu are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["claim", "web", "time", "1"], "kind must be one of"),
        (["claim", "web", "cpu", "much"], "no amount"),
        (["release", "web", "lease-9"], "no lease 'lease-9'"),
    ],
)
def test_what_a_person_gets_wrong_is_a_sentence_and_code_2(folder, capsys, words, said):
    assert run(["vral", *words, "--vral", folder]) == 2
    assert said in capsys.readouterr().err


def test_without_an_agent_it_says_how_to_get_one(tmp_path, capsys):
    assert run(["vral", "list", "--vral", str(tmp_path)]) == 2
    assert "tidegate agent --vral" in capsys.readouterr().err
