"""What a card keeps in files."""

from __future__ import annotations

import os

import msgspec
import pytest

from tidegate.drivers.card import logs as logs_module
from tidegate.drivers.card.logs import Logs
from tidegate.drivers.card.owning import owned
from tidegate.drivers.card.records import Record, Records, started_ticks
from tidegate.drivers.card.starting import Launched, ask_to_end, command_of, environment_of
from tidegate.model.application import ApplicationSpec
from tidegate.model.errors import InputError

RECORD = Record(
    name="web", epoch=3, standby=True, hands_off=True, ports=(80,), pid=os.getpid(), started_ticks=1
)


def test_a_record_is_read_as_it_was_written_and_a_broken_one_is_none(tmp_path):
    records = Records(tmp_path)
    assert records.read("web") is None
    records.write(RECORD)
    assert records.read("web") == RECORD
    (tmp_path / "web.json").write_text('{"name": "web"')
    assert records.read("web") is None
    records.remove("web")
    records.remove("web")
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_only_has_the_number_is_not_touched(monkeypatch):
    sent = []
    monkeypatch.setattr("signal.pidfd_send_signal", lambda *given: sent.append(given))
    assert ask_to_end(RECORD, lambda: [os.getpid()]) is None  # started at another time
    ours = msgspec.structs.replace(RECORD, started_ticks=started_ticks(os.getpid()))
    assert ask_to_end(ours, list) is None  # in another cgroup
    assert sent == []
    descriptor = ask_to_end(ours, lambda: [os.getpid()])
    os.close(descriptor)
    assert len(sent) == 1


def test_who_gets_no_order_ends():
    launched = Launched()
    launched.close()
    assert launched.process.wait(20) == 0


def test_each_port_goes_where_the_next_is_wanted():
    spec = ApplicationSpec(command=("a", "--on={port}:{port}", "{port}"), ports=(1, 2, 3))
    assert command_of("web", spec) == ["a", "--on=1:2", "3"]
    with pytest.raises(InputError, match="more often than it has ports"):
        command_of("web", ApplicationSpec(command=("a", "{port}", "{port}"), ports=(1,)))


def test_a_program_sees_what_was_said_and_nothing_of_ours(tmp_path):
    spec = ApplicationSpec(command=("a",), environment={"A": "1", "PATH": "/bin", "TIDEGATE_CONTROL": "mine"})
    seen = environment_of(spec, control=tmp_path / "c", standby=True)
    assert seen == {"A": "1", "PATH": "/bin", "TIDEGATE_CONTROL": f"{tmp_path}/c", "TIDEGATE_STANDBY": "1"}
    assert "TIDEGATE_STANDBY" not in environment_of(spec, control=tmp_path, standby=False)


def test_a_long_log_is_cut_and_its_end_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(logs_module, "LOG_BYTES_MAX", 10)
    logs = Logs(tmp_path)
    logs.cut("web")
    logs.file("web").write_text("0123456789")
    logs.cut("web")
    assert logs.file("web").read_text() == "0123456789"
    with logs.file("web").open("a") as writer:
        writer.write("abc")
        writer.flush()
        logs.cut("web")
        writer.write("def")
    assert logs.file("web").read_text() == "def"
    assert (tmp_path / "web.log.1").read_text() == "3456789abc"


def test_only_the_newest_logs_of_those_gone_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(logs_module, "LOGS_OF_GONE_MAX", 1)
    logs = Logs(tmp_path)
    for at, name in enumerate(("old", "older", "runs")):
        logs.file(name).write_text("x")
        os.utime(logs.file(name), (1000 - at, 1000 - at))
    logs.drop({"runs"})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["old.log", "runs.log"]


def test_one_process_at_a_time_has_a_card(tmp_path):
    lock = owned(tmp_path / "card", "a")
    with pytest.raises(InputError, match=f"process {os.getpid()} runs card a"):
        owned(tmp_path / "card", "a")
    os.close(lock)
    os.close(owned(tmp_path / "card", "a"))
