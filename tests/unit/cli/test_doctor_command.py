"""`tidegate doctor`: one line per finding for people, the whole for machines, and always exit code 0."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from tidegate.app.doctor import CheckUp, Finding, Need, State
from tidegate.cli import doctor
from tidegate.cli.main import run

SWAP = Finding(
    name="swap",
    group="machine",
    state=State.MISSING,
    seen="none",
    good_for="taking memory back",
    need=Need.MORE,
    get="Add a swap file.",
)


def printed(*findings, width=None):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=width is not None)
    doctor._print(CheckUp(machine={}, findings=findings), console)
    return out.getvalue()


def test_the_json_is_that_of_the_contract(tmp_path):
    path = tmp_path / "doctor.json"
    assert run(["doctor", "--json", str(path)]) == 0
    found = json.loads(path.read_text("utf-8"))
    assert list(found) == ["machine", "findings"]
    assert found["machine"]["cores"] >= 1
    assert found["findings"]
    for finding in found["findings"]:
        assert list(finding) == ["name", "group", "state", "seen", "good_for", "need", "get"]
        assert finding["state"] in {"works", "limited", "missing"}


def test_every_finding_is_one_line_where_nobody_looks_on(tmp_path, capsys):
    path = tmp_path / "doctor.json"
    assert run(["doctor", "--json", str(path)]) == 0
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    for finding in json.loads(path.read_text("utf-8"))["findings"]:
        assert [finding["state"], *finding["name"].split(), *finding["seen"].split()] in lines
    assert captured.err == ""


def test_findings_stand_under_their_group_and_remedies_below():
    driver = replace(SWAP, name="NVML", group="GPU", need=Need.HARDWARE, get="Install it.")
    kvm = replace(SWAP, name="KVM", group="GPU", need=Need.ACTING, get="Load it.")
    lines = [line.strip() for line in printed(SWAP, driver, kvm).splitlines() if line.strip()]
    assert [line.split()[-2:] for line in lines[2:7]] == [
        ["machine"], ["swap", "none"], ["GPU"], ["NVML", "none"], ["KVM", "none"],
    ]  # fmt: skip
    assert lines[7] == "works 0, limited 0, missing 3"
    assert lines[9:] == ["1. KVM: Load it.", "2. swap: Add a swap file.", "3. NVML: Install it."]


def test_nothing_to_get_says_nothing_of_getting():
    assert "How to get" not in printed(replace(SWAP, state=State.WORKS, get=""))


def test_states_have_their_colours():
    text = printed(SWAP, replace(SWAP, name="ok", state=State.WORKS, get=""), width=80)
    assert "\x1b[31mmissing" in text
    assert "\x1b[32mworks" in text


def test_what_a_device_calls_itself_can_do_nothing_to_a_terminal():
    text = printed(replace(SWAP, name="\x1b[2Jgpu", seen="[red]\x1b]0;x\x07", get="Mend \x1b[2J."))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]" in text


@pytest.mark.parametrize("arguments", [["--json", "no/such/folder/x.json"], ["--nonsense"], ["too", "much"]])
def test_wrong_usage_is_one_sentence_and_exit_code_2(arguments, capsys):
    assert run(["doctor", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
