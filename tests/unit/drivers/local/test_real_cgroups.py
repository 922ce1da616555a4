"""The kernel's own cgroups: use seen, quotas that bite, settings given back after SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tidegate.drivers.cgroups.hierarchy import find_hierarchy
from tidegate.drivers.cgroups.limits import read_limits
from tidegate.drivers.local.outside import Outside
from tidegate.drivers.local.server import LocalServer, release
from tidegate.lab.bench.load import Bursts, Leak, LoadCgroup
from tidegate.model.errors import InputError
from tidegate.model.outcome import Phase
from tidegate.model.roster import HOST
from tidegate.testing.check_driver import resized

CPU, MEMORY = 0, 1
MIB = 2**20
PATIENCE_SECONDS = 20.0
NUMBERS = count(1)

pytestmark = pytest.mark.root


@pytest.fixture
def cgroup(root_only):
    """A cgroup of our own, removed afterwards with all loads in it."""
    try:
        made = LoadCgroup(f"tidegate-test-{os.getpid()}-{next(NUMBERS)}")
    except InputError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    with made:
        yield made


@pytest.fixture
def server(cgroup, tmp_path):
    with server_on(cgroup, tmp_path) as made:
        yield made


def server_on(cgroup, tmp_path, **options):
    given = {"step_seconds": 1, "chosen": [cgroup.path], "act": [cgroup.path]} | options
    return LocalServer(ledger_path=tmp_path / "limits.json", outside=Outside(gpus=lambda: None), **given)


def reads(server, wanted):
    """Read until a snapshot is as wanted; fail after patience is over."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        snapshot = server.read()
        if wanted(snapshot):
            return snapshot
        used = snapshot.used[:, 0].tolist()
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s; last seen: {used}"
        time.sleep(0.3)


def texts(cgroup):
    limits = read_limits(find_hierarchy(Path("/")), cgroup.path)
    return limits.cpu.text, limits.memory.text


def test_use_is_seen_a_quota_bites_and_closing_gives_it_back(cgroup, server):
    before = texts(cgroup)
    cgroup.start(Bursts(seconds=60, cores=1.0))
    free = reads(server, lambda snapshot: snapshot.used[CPU, 0] > 0.5)
    assert not free.pressed[CPU, 0]
    assert free.grant[HOST, CPU, 0] == os.cpu_count()
    server.submit(resized(free, 0.25 / os.cpu_count()))
    outcome = server.collect()
    assert outcome.phase.tolist() == [Phase.APPLIED, Phase.APPLIED]
    assert outcome.amount_read_back[0] == np.float32(0.25)
    assert texts(cgroup) != before
    server.read()  # from here on the quota holds all the time
    time.sleep(1.0)
    held = reads(server, lambda snapshot: snapshot.pressed[CPU, 0])
    assert 0.22 < held.used[CPU, 0] < 0.32
    assert server.behaviour.throttled_seconds[0] > 0
    assert (held.grant[HOST, CPU, 0], held.capacity[CPU, 0]) == (np.float32(0.25), os.cpu_count())
    released = server.close()
    assert len(released.restored) == 2
    assert texts(cgroup) == before


def test_memory_is_seen_and_a_soft_limit_below_it_refused(cgroup, server):
    cgroup.start(Leak(seconds=60, bytes_per_second=400 * MIB, bytes_max=64 * MIB))
    grown = reads(server, lambda snapshot: snapshot.used[MEMORY, 0] > 60 * MIB)
    assert server.behaviour.memory_bytes_working_set[0] > 60 * MIB
    before = texts(cgroup)
    server.submit(resized(grown, 32 * MIB / grown.capacity[MEMORY, 0]))
    outcome = server.collect()
    assert outcome.phase[outcome.resource_row == MEMORY].tolist() == [Phase.REFUSED]
    assert texts(cgroup)[MEMORY] == before[MEMORY]


CHANGES_FOREVER = """
import sys
from pathlib import Path
from tidegate.drivers.local.outside import Outside
from tidegate.drivers.local.server import LocalServer
from tidegate.testing.check_driver import resized

path, ledger = sys.argv[1:]
server = LocalServer(step_seconds=1, chosen=[path], act=[path], ledger_path=Path(ledger),
                     outside=Outside(gpus=lambda: None))
for turn in range(1_000_000):
    server.submit(resized(server.read(), 0.3 + 0.05 * (turn % 10)))
    server.collect()
    print(turn, flush=True)
"""


@pytest.mark.parametrize("turns", [1, 7])
def test_after_sigkill_the_owners_settings_come_back(cgroup, tmp_path, turns):
    hierarchy = find_hierarchy(Path("/"))
    quota = read_limits(hierarchy, cgroup.path).cpu
    Path(quota.file).write_text(quota.text_for(1.5))  # the owner's
    before = texts(cgroup)
    ledger = tmp_path / "limits.json"
    with subprocess.Popen(
        [sys.executable, "-c", CHANGES_FOREVER, cgroup.path, str(ledger)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        for _ in range(turns):
            assert child.stdout.readline()
        with pytest.raises(InputError, match=f"process {child.pid} is changing limits"):
            release(ledger)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert texts(cgroup) != before
    released = release(ledger)
    assert texts(cgroup) == before
    assert len(released.restored) == 2
    assert released.left == ()
    assert not ledger.exists()


def test_the_next_start_gives_back_too(cgroup, tmp_path):
    before = texts(cgroup)
    script = CHANGES_FOREVER.replace("print(turn", "import os; os.kill(os.getpid(), 9); print(turn")
    command = [sys.executable, "-c", script, cgroup.path, str(tmp_path / "limits.json")]
    assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
    assert texts(cgroup) != before
    with server_on(cgroup, tmp_path, act=()) as observer:
        assert len(observer.released.restored) == 2
    assert texts(cgroup) == before


def test_observing_without_root_tells_what_it_could_not_give_back(cgroup, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    script = (
        "import os, sys; from pathlib import Path;"
        "from tidegate.drivers.local.server import LocalServer;"
        "os.setgid(65534); os.setuid(65534);"
        "server = LocalServer(step_seconds=1, ledger_path=Path(sys.argv[1])); server.read();"
        "print(server.unreleased)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "limits.json")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert "run as root" in done.stdout


def test_acting_without_root_says_what_to_do(cgroup, tmp_path):
    script = (
        "import os, sys; from pathlib import Path;"
        "from tidegate.drivers.local.server import LocalServer;"
        "os.setgid(65534); os.setuid(65534);"
        "LocalServer(step_seconds=1, act=['x'], ledger_path=Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "limits.json")],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert "can't be set without root; use sudo" in done.stderr
