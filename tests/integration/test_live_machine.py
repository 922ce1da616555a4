"""`tidegate up` on this very machine: what it sets, what it leaves alone, and that all is given back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import pytest

from tidegate.app.machine import MachineOptions
from tidegate.app.registry import LIVE, PLAIN_MODEL, Settings, policy
from tidegate.app.stopwatch import StageTimer
from tidegate.app.threads import one_blas_thread
from tidegate.app.wiring import LOCAL_LIMITS, WITHOUT_FORECAST, guards, in_company
from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.cgroups.limits import read_limits
from tidegate.drivers.local.server import release
from tidegate.drivers.simulated.fleet import SimulatedFleet
from tidegate.journal.changes import Change
from tidegate.journal.nothing import NothingJournal
from tidegate.journal.sql.controls import Controls, controls_of
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.lab.bench.load import Bursts, LoadCgroup
from tidegate.lab.replay import bare_fleet
from tidegate.learn.nothing import NothingLearner
from tidegate.loop import Loop
from tidegate.model.autonomy import Level
from tidegate.model.errors import InputError, TidegateError
from tidegate.model.plan import Reason
from tidegate.model.resources import Resource
from tidegate.model.trace import Trace
from tidegate.plan.difference import difference
from tidegate.score.nothing import NothingScorer

SRC = Path(__file__).resolve().parents[2] / "src"
PATIENCE_SECONDS = 30.0
"""Far more than any of this takes on an idle machine."""
NUMBERS = count(1)
UP = """
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tidegate.app.wiring import LOCAL_LIMITS
from tidegate.cli import up
from tidegate.cli.main import main

# A minute of watching before anything is taken is a minute too long here.
limits = replace(LOCAL_LIMITS, watched_seconds=0)
up.MachineOptions = partial(up.MachineOptions, ledger=Path(sys.argv[1]), limits=limits)
main(sys.argv[2:])
"""
"""The real command, with a ledger of its own: another Tidegate may run on this machine."""


@pytest.fixture
def cgroup():
    """A cgroup of our own, removed afterwards with all loads in it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups: run the tests as root")
    try:
        made = LoadCgroup(f"tidegate-live-{os.getpid()}-{next(NUMBERS)}")
    except InputError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    with made:
        yield made


@pytest.fixture
def journal(tmp_path):
    return location(str(tmp_path / "machine.db"))


def texts(cgroup):
    limits = read_limits(find_hierarchy(Path("/")), cgroup.path)
    return limits.cpu.text, limits.memory.text


@contextmanager
def up(cgroup, journal, *arguments):
    """Run `tidegate up` for one workload; whatever happens, it does not outlive the test."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(part for part in (inherited, str(SRC)) if part)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", UP, str(ledger_of(journal))),
            *("up", "--only", "machine", "--journal", str(journal.path), "--workload", cgroup.path),
            *arguments,
        ],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def ledger_of(journal):
    return journal.path.with_name("limits.json")


def until(holds, process, what):
    """Wait until something holds, while the process lives and patience lasts; return what it was."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert process.poll() is None, f"ended with {process.returncode}: {process.communicate()}"
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.05)
    return found


def last_tick(journal):
    """The number of the last journalled tick; -1 before the first, and while the journal is being made."""
    try:
        reader = Reader.of(journal)
    except TidegateError:
        return -1
    try:
        span = reader.span()
    except TidegateError:
        return -1
    finally:
        reader.close()
    return -1 if span is None else span.last


def ticked(journal, process, ticks):
    """Wait until so many more ticks are journalled; return the number of the last."""
    wanted = max(0, last_tick(journal) + 1) + ticks - 1
    until(lambda: last_tick(journal) >= wanted, process, f"tick {wanted}")
    return last_tick(journal)


def rows_since(journal, first):
    """The journal's rows of the ticks since one, by column."""
    reader = Reader.of(journal)
    found = [of.rows for of in reader.changes(first, last_tick(journal))]
    reader.close()
    return {name: np.concatenate([rows[name] for rows in found], axis=-1) for name in found[0]}


def asked(journal, first):
    return bool((rows_since(journal, first)["what"] & Change.ASKED).any())


def says(journal, first, reason):
    return bool((rows_since(journal, first)["reason"] == reason).any())


def ended(process, number):
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in err
    assert process.returncode == 0, err
    return out


def told(journal, what, *arguments):
    with controls_of(journal, Level.OBSERVE) as controls:
        what(controls, *arguments, now_seconds=int(time.time()))


ACTING = ("--act", "--autonomy", "auto")
QUIET = Bursts(seconds=60, cores=0.3)
BUSY = Bursts(seconds=60, cores=0.9)


@pytest.mark.root
def test_advice_becomes_action_when_allowed_stops_when_paused_and_is_undone_at_the_end(cgroup, journal):
    before = texts(cgroup)
    cgroup.start(QUIET)
    with up(cgroup, journal, "--act", "--autonomy", "recommend") as process:
        ticked(journal, process, 3)
        until(lambda: says(journal, 0, Reason.HELD_RECOMMENDED), process, "advice")
        assert texts(cgroup) == before
        assert not asked(journal, 0)

        told(journal, Controls.allow, "*", Level.AUTO)
        until(lambda: texts(cgroup)[0] != before[0], process, "a quota that is set")

        told(journal, Controls.pause)
        # The tick under way may have asked already.
        first = ticked(journal, process, 2)
        paused = texts(cgroup)
        cgroup.start(BUSY)
        until(lambda: says(journal, first, Reason.HELD_PAUSED), process, "paused")
        ticked(journal, process, 2)
        assert texts(cgroup) == paused
        assert not asked(journal, first)

        told(journal, Controls.resume)
        until(lambda: texts(cgroup)[0] != paused[0], process, "a quota that is set anew")
        out = ended(process, signal.SIGINT)
    assert "Stopped by" in out or "This machine:" in out
    assert texts(cgroup) == before
    assert not ledger_of(journal).exists()


def agent_of(process):
    """The number of the process that sets limits for another."""
    return next(child.pid for child in psutil.Process(process.pid).children() if "agent" in child.cmdline())


def folder_of(agent):
    """Where the processes of an `up` have their sockets."""
    words = psutil.Process(agent).cmdline()
    return Path(words[words.index("--state") + 1]).parent


@pytest.mark.root
def test_an_agent_whose_up_is_killed_brings_everything_back_itself(cgroup, journal):
    before = texts(cgroup)
    cgroup.start(QUIET)
    with up(cgroup, journal, *ACTING) as process:
        until(lambda: texts(cgroup)[0] != before[0], process, "a quota that is set")
        beside = psutil.Process(process.pid).children()
        folder = folder_of(agent_of(process))
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
        assert not psutil.wait_procs(beside, PATIENCE_SECONDS)[1]
    shutil.rmtree(folder)
    assert texts(cgroup) == before
    assert not ledger_of(journal).exists()


@pytest.mark.root
def test_what_a_killed_agent_had_set_is_brought_back_and_the_next_one_acts(cgroup, journal):
    before = texts(cgroup)
    cgroup.start(QUIET)
    with up(cgroup, journal, *ACTING) as process:
        until(lambda: texts(cgroup)[0] != before[0], process, "a quota that is set")
        first = agent_of(process)
        os.kill(first, signal.SIGKILL)
        until(lambda: texts(cgroup) == before, process, "what the owner had set")
        until(lambda: texts(cgroup)[0] != before[0], process, "a quota that is set anew")
        assert agent_of(process) != first
        ended(process, signal.SIGINT)
    assert texts(cgroup) == before
    reader = Reader.of(journal)
    told = [event.sentence for event in reader.events(last=9)]
    reader.close()
    assert any("the agent of this machine ended (killed by SIGKILL)" in sentence for sentence in told)
    assert "gave back 2 settings at the end" in told or "gave back 1 settings at the end" in told


@pytest.mark.root
@pytest.mark.parametrize("brought_back_by", ["release", "the next start"])
@pytest.mark.parametrize("processes", ["one process", "several"])
def test_what_a_killed_one_had_set_is_brought_back(cgroup, journal, brought_back_by, processes):
    before = texts(cgroup)
    cgroup.start(QUIET)
    alone = ["--in-process"] if processes == "one process" else []
    with up(cgroup, journal, *ACTING, *alone) as process:
        until(lambda: texts(cgroup)[0] != before[0], process, "a quota that is set")
        if not alone:
            # First the one who would start it again, which is then in no state to.
            agent = agent_of(process)
            beside, folder = psutil.Process(process.pid).children(), folder_of(agent)
            process.send_signal(signal.SIGSTOP)
            os.kill(agent, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    assert texts(cgroup) != before
    if not alone:
        assert not psutil.wait_procs(beside, PATIENCE_SECONDS)[1]
        shutil.rmtree(folder)
    seen = last_tick(journal)
    if brought_back_by == "release":
        assert release(ledger_of(journal)).restored
        assert texts(cgroup) == before
        return
    with up(cgroup, journal) as process:
        until(lambda: texts(cgroup) == before, process, "what the owner had set")
        assert ticked(journal, process, 2) > seen + 1, "it went on from its journal"
        ended(process, signal.SIGTERM)
    assert texts(cgroup) == before


@pytest.mark.root
def test_without_act_nothing_is_ever_written_and_whoever_starts_again_goes_on(cgroup, journal):
    before = texts(cgroup)
    cgroup.start(QUIET)
    for start in range(2):
        with up(cgroup, journal, "--autonomy", "auto") as process:
            last = ticked(journal, process, 3)
            ended(process, signal.SIGINT)
        assert last >= 3 * (start + 1) - 1
        assert texts(cgroup) == before
    rows = rows_since(journal, 0)
    assert (rows["reason"] == Reason.HELD_OUT_OF_REACH).any()
    assert not (rows["what"] & Change.ASKED).any()
    assert not ledger_of(journal).exists()


# --- What prediction is worth, on a machine that is simulated ------------------------------------

PERIOD, BURST, CYCLES = 24, 6, 8
SEEN = 3 * PERIOD
CORES, LOW, HIGH = 2.0, 0.1, 1.5


def burst_trace(seed):
    """Bursts every `PERIOD` seconds, with a little noise."""
    rng = np.random.default_rng(seed)
    ticks = PERIOD * CYCLES
    level = np.where((np.arange(ticks) - 5) % PERIOD < BURST, HIGH, LOW)
    used = level * rng.uniform(0.95, 1.05, ticks)
    return Trace(
        name="bursts",
        start_seconds=1_704_067_200,
        step_seconds=1,
        resources=(Resource.CPU,),
        vms=("app",),
        servers=(),
        used=used[None, :, None].astype(np.float32),
        capacity=np.full((1, ticks, 1), CORES, dtype=np.float32),
    )


def closed_loop(model, seed):
    """Run `tidegate` as on this machine over bursts; return what was held, wanted, and the counterfactual."""
    trace = burst_trace(seed)
    fleet = SimulatedFleet(trace, bare_fleet(trace, 0.01), censored=True)
    settings = Settings(resources=trace.resources, step_seconds=1, seed=seed, model=model)
    forecaster, planner = policy("tidegate")(settings)
    watch = StageTimer()
    loop = Loop(
        telemetry=fleet,
        forecaster=forecaster,
        scorer=NothingScorer(),
        planner=in_company(planner, "tidegate", settings, watch),
        guards=guards(fleet, LOCAL_LIMITS),
        difference=difference,
        actuator=fleet,
        journal=NothingJournal(),
        learner=NothingLearner(),
        stopwatch=watch,
    )
    held, short, plain = np.zeros((3, trace.ticks))
    with one_blas_thread():
        for number in range(trace.ticks):
            tick = loop.tick()
            held[number] = tick.snapshot.held[0, 0]
            short[number] = tick.snapshot.pressed[0, 0]
            plain[number] = tick.plan.counterfactual[0, 0]
    return trace.used[0, :, 0], held, short, plain


def phases():
    """Which steps after three cycles are in a burst, and which are well between two."""
    phase = (np.arange(PERIOD * CYCLES) - 5) % PERIOD
    after = np.arange(PERIOD * CYCLES) >= SEEN + 5
    return after & (phase < BURST), after & (phase > BURST + 4) & (phase < PERIOD - 3)


def test_a_machine_is_run_with_short_cycles():
    assert MachineOptions().model == LIVE


@pytest.mark.parametrize("seed", [1, 2])
def test_bursts_on_a_schedule_are_met_before_they_come_and_room_is_given_back_between(seed):
    used, held, short, plain = closed_loop(LIVE, seed)
    burst, between = phases()
    assert (held[burst] >= used[burst] - 0.001 * CORES).all()
    assert not short[burst].any()
    assert held[between].mean() < 0.5 * HIGH
    assert plain[between].mean() > HIGH, f"the shadow '{WITHOUT_FORECAST}' forecasts nothing"


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("model", ["engine", PLAIN_MODEL])
def test_without_short_cycles_the_peak_is_held_all_the_time(model, seed):
    _, held, _, _ = closed_loop(model, seed)
    _, between = phases()
    assert held[between].mean() > 0.9 * HIGH
