"""Real processes in real cgroups: limits that bite, a runtime that is killed, an application that moves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tidegate.drivers.card.records import started_ticks
from tidegate.drivers.card.runtime import UNKNOWN_EPOCH, ProcessRuntime
from tidegate.model.application import Amounts, ApplicationSpec
from tidegate.model.errors import InputError, TidegateError

MIB = 1 << 20
PATIENCE_SECONDS = 30.0
NUMBERS = count(1)
PYTHON_PATH = os.pathsep.join(sys.path)

pytestmark = pytest.mark.root


@pytest.fixture
def cards(root_only, tmp_path):
    """Make cards; all that runs on them is ended afterwards."""
    made = {}

    def make(name="card", **options):
        runtime = ProcessRuntime(f"test-{os.getpid()}-{number}-{name}", folder=tmp_path / name, **options)
        made[name] = runtime
        return runtime

    number = next(NUMBERS)
    yield make
    for runtime in made.values():
        for name in runtime._groups.names():
            runtime.stop(name, grace_seconds=0.0)
        runtime.close()


def shell(script, **options):
    return ApplicationSpec(command=("sh", "-c", script), **options)


def python(script, **options):
    return ApplicationSpec(command=(sys.executable, "-c", script), **options)


def eventually(wanted):
    """Return what is wanted once it is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s"
        time.sleep(0.02)
    return found


def log_of(tmp_path, name, card="card"):
    return (tmp_path / card / "logs" / f"{name}.log").read_text()


def runs(pid):
    """Whether there is such a process; a zombie is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_quota_bites_and_a_larger_one_frees(cards):
    runtime = cards()
    runtime.start(
        "busy", shell("while :; do :; done", amounts=Amounts(cpu_cores=0.25)), epoch=0, standby=False
    )

    def cores(seconds):
        (before,) = runtime.usage()
        time.sleep(seconds)
        (after,) = runtime.usage()
        return (after.cpu_seconds - before.cpu_seconds) / (after.time_seconds - before.time_seconds)

    assert 0.15 < cores(1.5) < 0.30
    assert runtime.usage()[0].throttled_seconds > 0
    assert runtime.adjust("busy", Amounts(cpu_cores=0.1)).cpu_cores == 0.1
    assert 0.05 < cores(1.5) < 0.14


def test_who_takes_more_memory_than_it_holds_is_ended_and_nobody_else(cards):
    runtime = cards()
    grows = "blocks = []\nwhile True: blocks.append(bytearray(b'x') * (1 << 20))"
    small = Amounts(memory_bytes=48 * MIB)
    runtime.start("calm", shell("sleep 60", amounts=small), epoch=0, standby=False)
    runtime.start("grows", python(grows, amounts=small), epoch=0, standby=False)
    eventually(lambda: [running.name for running in runtime.found()] == ["calm"])


def test_a_limit_below_what_is_in_use_stays_what_it_was(cards, tmp_path):
    runtime = cards()
    takes = "import time\nblock = bytearray(b'x') * (64 << 20)\nprint('ready', flush=True)\ntime.sleep(60)"
    runtime.start("web", python(takes, amounts=Amounts(memory_bytes=256 * MIB)), epoch=0, standby=False)
    eventually(lambda: "ready" in log_of(tmp_path, "web"))
    assert runtime.adjust("web", Amounts(memory_bytes=32 * MIB)).memory_bytes == 256 * MIB
    assert runtime.adjust("web", Amounts(memory_bytes=128 * MIB)).memory_bytes == 128 * MIB
    assert runtime.usage()[0].memory_bytes >= 64 * MIB
    assert runtime.found()[0].processes == 1


def test_a_program_starts_inside_with_nothing_of_ours(cards, tmp_path):
    runtime = cards()
    spec = ApplicationSpec(
        command=("sh", "-c", "cat /proc/self/cgroup; env; ls -l /proc/self/fd; echo whole; exec sleep 60"),
        environment={"COLOUR": "blue"},
    )
    runtime.start("web", spec, epoch=0, standby=False)
    text = eventually(lambda: (said := log_of(tmp_path, "web")).endswith("whole\n") and said)
    assert f"PWD={tmp_path}" in text
    lines = [line for line in text.splitlines() if line.endswith("/web") and ":" in line]
    assert len(lines) == len(runtime._groups.members_files("web"))
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line and ":name=" not in line}
    assert names - {"_", "OLDPWD", "SHLVL"} == {"COLOUR", "PATH", "PWD", "TIDEGATE_CONTROL"}
    assert "/dev/null" in text
    assert "pipe:" not in text


@pytest.mark.parametrize("command", [("no-such-program",), ("/",), ("a\0b",)])
def test_what_can_not_be_started_leaves_nothing(cards, tmp_path, command):
    runtime = cards()
    with pytest.raises(TidegateError, match="can't be started"):
        runtime.start("web", ApplicationSpec(command=command), epoch=0, standby=False)
    assert runtime._groups.names() == []
    assert list((tmp_path / "card/records").iterdir()) == []
    runtime.start("web", shell("sleep 60"), epoch=0, standby=False)


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        os.fork()
print('ready', flush=True)
time.sleep(600)
"""


def test_who_does_not_listen_is_ended_with_all_its_children(cards, tmp_path):
    runtime = cards()
    runtime.start("web", python(STUBBORN), epoch=0, standby=False)
    pids = eventually(lambda: len(pids := runtime._groups.members("web")) == 27 and pids)
    eventually(lambda: log_of(tmp_path, "web").count("ready") == 27)
    start = time.monotonic()
    runtime.stop("web", grace_seconds=0.3)
    assert 0.3 <= time.monotonic() - start < 10
    assert not [pid for pid in pids if runs(pid)]


def test_children_end_with_their_parent_that_listened(cards):
    runtime = cards()
    runtime.start("web", shell("sleep 600 & exec sleep 601"), epoch=0, standby=False)
    pids = eventually(lambda: len(pids := runtime._groups.members("web")) == 2 and pids)
    start = time.monotonic()
    runtime.stop("web", grace_seconds=20.0)
    assert time.monotonic() - start < 10
    assert not [pid for pid in pids if runs(pid)]


STARTS = """
import os, sys, time
from pathlib import Path
from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.model.application import Amounts, ApplicationSpec
runtime = ProcessRuntime(sys.argv[1], folder=Path(sys.argv[2]))
writes = ("sh", "-c", "while :; do echo on; sleep 0.05; done")
spec = ApplicationSpec(command=writes, amounts=Amounts(cpu_cores=0.5))
runtime.start("web", spec, epoch=7, standby=False)
print(*runtime._groups.members("web"), flush=True)
time.sleep(600)
"""


def test_a_runtime_that_is_killed_is_replaced_by_a_new_one(cards, tmp_path):
    name = f"test-{os.getpid()}-killed"
    command = [sys.executable, "-c", STARTS, name, str(tmp_path / "card")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": PYTHON_PATH}
    ) as child:
        (pid, *_) = map(int, child.stdout.readline().split())
        with pytest.raises(InputError, match=r"process \d+ runs card"):
            ProcessRuntime(name, folder=tmp_path / "card")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    runtime = ProcessRuntime(name, folder=tmp_path / "card")
    try:
        (found,) = runtime.found()
        assert (found.name, found.epoch, found.standby, found.held.cpu_cores) == ("web", 7, False, 0.5)
        written = len(log_of(tmp_path, "web"))
        eventually(lambda: len(log_of(tmp_path, "web")) > written)  # it runs and writes on
        assert runtime.adjust("web", Amounts(cpu_cores=0.25)).cpu_cores == 0.25
        assert runs(pid)
        runtime.stop("web", grace_seconds=5.0)
        assert not runs(pid)
    finally:
        runtime.stop("web", grace_seconds=0.0)
        runtime.close()


def test_a_process_that_has_the_number_now_is_not_touched(cards):
    runtime = cards()
    runtime.start("web", shell("sleep 600"), epoch=0, standby=False)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        record = msgspec.structs.replace(
            runtime._records.read("web"), pid=stranger.pid, started_ticks=started_ticks(stranger.pid)
        )
        runtime._records.write(record)
        runtime.stop("web", grace_seconds=5.0)
        assert runtime.found() == []
        assert stranger.poll() is None
        stranger.kill()


def test_who_lost_its_record_is_found_older_than_anything(cards, tmp_path):
    runtime = cards()
    runtime.start("web", shell("sleep 600"), epoch=4, standby=False)
    (tmp_path / "card/records/web.json").unlink()
    assert runtime.found()[0].epoch == UNKNOWN_EPOCH
    runtime.stop("web", grace_seconds=0.0)
    assert runtime.found() == []


HANGS = """
import os, socket, time
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["TIDEGATE_CONTROL"])
server.listen()
print('ready', flush=True)
time.sleep(600)
"""


def test_a_control_socket_that_hangs_slows_no_reading(cards, tmp_path):
    runtime = cards()
    serve = (sys.executable, "-m", "tidegate.examples.keyvalue", "serve", "--port", "0")
    spec = ApplicationSpec(command=serve, environment={"PYTHONPATH": PYTHON_PATH})
    runtime.start("hangs", python(HANGS), epoch=0, standby=False)
    runtime.start("serves", spec, epoch=0, standby=False)
    eventually(lambda: "ready" in log_of(tmp_path, "hangs"))
    times = []

    def told():
        start = time.monotonic()
        used = {each.name: each for each in runtime.usage()}
        times.append(time.monotonic() - start)
        return used["serves"].requests is not None

    eventually(told)
    assert sorted(times)[len(times) // 2] < 0.1


# --- In network namespaces -----------------------------------------------------------------------


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=PATIENCE_SECONDS)


@pytest.fixture
def spaces(root_only):
    """Two namespaces with a cable between them: 10.211.0.1 and 10.211.0.2."""
    if not any((Path(folder) / "ip").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("needs ip (iproute2) to make network namespaces")
    names = [f"tidegate-test-{os.getpid()}-{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "veth0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "veth0",
            "netns",
            names[1],
        )
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.211.0.{number}/24", "dev", "veth0")
            ip("-n", name, "link", "set", "veth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=60)


def inside(name, *command):
    return ["nsenter", f"--net=/var/run/netns/{name}", *command]


def test_an_application_moves_under_load_and_nothing_is_lost(cards, spaces):
    one, other = cards("one", namespace=spaces[0]), cards("other", namespace=spaces[1])
    spec = ApplicationSpec(
        command=(sys.executable, "-m", "tidegate.examples.keyvalue", "serve", "--port", "{port}"),
        environment={"PYTHONPATH": PYTHON_PATH},
        ports=(7000,),
        hands_off=True,
    )
    one.start("kv", spec, epoch=0, standby=False)
    b"".join(one.export_state("kv", []))  # once it can be asked it serves too
    one.import_state("kv", [b"{}"], state_bytes=2)
    load = [sys.executable, "-m", "tidegate.examples.keyvalue", "load", "--at", "10.211.0.1:7000"]
    command = inside(spaces[1], *load, "--seconds", "4", "--rate", "200")
    environment = os.environ | {"PYTHONPATH": PYTHON_PATH}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        eventually(lambda: (one.usage()[0].requests or 0) > 100)
        homes = [(one, "10.211.0.1:7000"), (other, "10.211.0.2:7000")]
        for epoch in (1, 2):  # there and back again
            (here, _), (there, at) = homes
            there.start("kv", spec, epoch=epoch, standby=True)
            state = list(here.export_state("kv", [at]))
            there.import_state("kv", state, state_bytes=sum(map(len, state)))
            here.stop("kv", grace_seconds=5.0)
            homes.reverse()
            time.sleep(0.5)
        said, _ = child.communicate(timeout=60)
    found = json.loads(said)
    assert child.returncode == 0, found
    assert found["requests"] > 500
    assert found["redirects"] + found["reconnects"] >= 2
    assert (found["lost"], found["acknowledged_writes_missing"], found["wrong_reads"]) == (0, 0, 0)
    assert found["acknowledged_writes"] > 200


SENDS = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(bytes(1_000_000))
"""
TAKES = """
import socket, sys, time
for port in map(int, sys.argv[1:]):
    for attempt in range(200):
        try:
            taken = socket.create_connection(("10.211.0.1", port), 20)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    start = time.perf_counter()
    left = 1_000_000
    while left:
        left -= len(taken.recv(65536))
    print(1_000_000 / (time.perf_counter() - start), flush=True)
"""


def test_what_an_application_sends_is_limited_and_told_apart_by_its_ports(cards, spaces):
    runtime = cards("one", namespace=spaces[0], network_bytes_per_second=4_000_000)
    for name, port, rate in (("slow", 7001, 500_000), ("free", 7002, None)):
        runtime.start(
            name,
            ApplicationSpec(
                command=(sys.executable, "-c", SENDS, "{port}"),
                ports=(port,),
                amounts=Amounts(network_bytes_per_second=rate),
            ),
            epoch=0,
            standby=False,
        )
    held = {running.name: running.held.network_bytes_per_second for running in runtime.found()}
    assert held == {"slow": 500_000, "free": None}
    command = inside(spaces[1], sys.executable, "-c", TAKES, "7001", "7002")
    slow, free = map(float, subprocess.check_output(command, timeout=60).split())
    assert 400_000 < slow < 560_000
    assert 2_000_000 < free < 4_600_000
    sent = {used.name: used.network_bytes for used in runtime.usage()}
    assert 1_000_000 < sent["slow"] < 1_200_000
    assert sent["free"] is None
    assert (
        runtime.adjust("slow", Amounts(network_bytes_per_second=2_000_000)).network_bytes_per_second
        == 2_000_000
    )
    (faster,) = map(float, subprocess.check_output([*command[:-2], "7001"], timeout=60).split())
    assert 1_500_000 < faster < 2_300_000
    runtime.stop("slow", grace_seconds=0.0)
    assert runtime._network.read() == {}
