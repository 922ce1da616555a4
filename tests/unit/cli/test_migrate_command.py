"""`tidegate migrate`, as far as it needs no hypervisor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.app.moving import forecast_of
from tidegate.cli import migrate
from tidegate.cli.main import run
from tidegate.drivers.libvirt.moving.mover import Reconciled
from tidegate.drivers.libvirt.moving.orders import Measured, MoveOrder, MovePhase, MoveRecord
from tidegate.drivers.libvirt.moving.port import Place, Route
from tidegate.model.errors import TidegateError

RECORD = MoveRecord(
    name="web",
    uuid="1",
    source="here",
    target="there",
    phase=MovePhase.SUCCEEDED,
    seconds=4.31,
    memory_seconds=2.58,
    downtime_seconds=0.05,
    bytes_sent=150_000_000,
    rounds=4,
    throttle_ratio=0.0,
    was_post_copied=False,
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which VM, and where to"),
        (["web"], "say which VM, and where to"),
        (["web", "--to", "x:///", "--bandwidth", "fast"], "'fast' is no amount of bytes"),
        (["web", "--to", "x:///", "--bandwidth", "0"], "--bandwidth 0 is no speed"),
        (["web", "--to", "x:///", "--within", "soon"], "'soon' is no duration"),
        (["web", "--to", "x:///", "--xml", "/no/such"], "--xml /no/such can't be read"),
    ],
)
def test_what_can_not_be_meant_is_told(words, said, capsys):
    assert run(["migrate", *words]) == 2
    assert said in capsys.readouterr().err


def test_with_nothing_left_there_is_nothing_to_put_right(tmp_path, capsys):
    assert run(["migrate", "--reconcile", "--notes", str(tmp_path)]) == 0
    assert "Nothing to put right" in capsys.readouterr().out


def test_what_can_not_be_put_right_now_is_told_and_stays(tmp_path, capsys):
    route = '{"kind":"qmp","uuid":"1","name":"web","source":"/no/a","target":"/no/b"}'
    (tmp_path / "1.json").write_text(route)
    assert run(["migrate", "--reconcile", "--notes", str(tmp_path)]) == 0
    assert "web runs nowhere any more" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_forecast_and_the_end_are_told_in_a_sentence_each(capsys):
    measured = Measured(used_bytes=100e6, dirty_bytes_per_second=10e6)
    order = MoveOrder(bytes_per_second_max=50e6)
    assert migrate._forecast_text("web", forecast_of(measured, order), order) == (
        "web uses 100 MB and rewrites 10 MB/s: "
        "its move will take about 2.31 s, send 122 MB and stop it for 130 ms."
    )
    fast = Measured(used_bytes=100e6, dirty_bytes_per_second=60e6)
    never = MoveOrder(bytes_per_second_max=50e6, auto_converge=False)
    assert "will not end by itself" in migrate._forecast_text("web", forecast_of(fast, never), never)
    migrate._told(RECORD)
    assert capsys.readouterr().out == (
        "web runs at there: 4.31 s in all, 2.58 s for 150 MB in 4 rounds, still for 50 ms.\n"
    )


def test_a_vm_that_was_not_moved_is_an_error():
    with pytest.raises(TidegateError, match="web was not moved and goes on where it was: no room"):
        migrate._told(replace(RECORD, phase=MovePhase.FAILED, reason="no room"))


def test_where_each_runs_is_told():
    route = Route(kind="qmp", uuid="1", name="web", source="here", target="there")
    said = [migrate._settled_text(Reconciled(route=route, place=place)) for place in Place]
    assert said == ["web runs at here", "web runs at there", "web runs nowhere any more"]
    assert migrate._settled_text(Reconciled(route=route, place=None, reason="away")) == "web: away"
