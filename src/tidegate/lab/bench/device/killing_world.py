"""What is killed: cards in network namespaces, a fleet manager and a server, each with a small disk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.app.certificates.authority import Authority
from tidegate.drivers.card.network import CLASSES
from tidegate.drivers.card.runtime import ProcessRuntime
from tidegate.drivers.local.clock import SystemClock
from tidegate.model.errors import TidegateError
from tidegate.wire.identities import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

CARDS: Final = ("a", "b")
FLEET: Final = "fleet"
AGENT: Final = "agent"
CORES: Final = 4
"""Of each card: one has room for all applications."""
MEMORY: Final = "1GiB"
DEVICE_PORT: Final = 7700
DISK_MEGABYTES: Final = 16
"""Of each program's own disk: its store fits well, and it is soon full."""
GONE_SECONDS_MAX: Final = 15.0
STEP_SECONDS: Final = 0.02
PAUSE: Final = threading.Event()
"""Nobody sets it: to wait for."""
LOADED: Final = (
    "tidegate.cli.commands",
    "tidegate.cli.agent",
    "tidegate.cli.device",
    "tidegate.cli.fleet",
    "tidegate.agents.device.program",
    "tidegate.agents.device.store",
    "tidegate.drivers.card.runtime",
    "tidegate.forecast.live",
    "pyroute2",
    "uvloop",
)
"""What the nursery loads; what is not there is loaded by who needs it."""
WORKLOADS: Final = 2
"""Of the server."""
QUOTA_MICROSECONDS: Final = 10_000
"""What each has at first, of each period of 100 ms; it wants more now and then."""
ALL_QUOTA_MICROSECONDS: Final = 40_000
"""What both have together at most."""
WORK: Final = "while :; do i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; sleep 2; done"


@dataclass(slots=True, kw_only=True)
class Program:
    """One that can be killed and started again."""

    arguments: list[str]
    state: Path
    """A disk of its own is mounted here."""
    log: Path
    namespace: str = ""
    pid: int = 0


@dataclass(slots=True, kw_only=True)
class World:
    """The machines of one run, all in this one."""

    folder: Path
    prefix: str
    """Of everything with a name that the whole machine shares."""
    network: str
    certificates: Path
    programs: dict[str, Program] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    """Limits of the server's workloads, by file, as its owner has set them."""
    _nursery: subprocess.Popen[str] | None = None

    def card(self, letter: str) -> str:
        """Return a card's name."""
        return f"{self.prefix}{letter}"

    def host(self, letter: str) -> str:
        """Return the address at which a card's ports serve."""
        return f"{self.network}.{CARDS.index(letter) + 2}"

    def address(self, program: str) -> str:
        """Return where a device, or the fleet manager, listens."""
        if program == FLEET:
            return f"unix:{self.folder / 'fleet.sock'}"
        return f"tcp:{self.host(program)}:{DEVICE_PORT}"

    def runtime(self, letter: str) -> Path:
        """Return the folder in which a card keeps what runs on it."""
        return Path("/run/tidegate") / self.card(letter)

    # --- Programs -----------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a program that does not run."""
        program = self.programs[name]
        order = {
            "arguments": program.arguments,
            "namespace_file": f"/run/netns/{program.namespace}" if program.namespace else "",
            "log_file": str(program.log),
        }
        nursery = self._nursery
        if nursery is None or nursery.stdin is None or nursery.stdout is None:
            raise RuntimeError("a program was started outside of the world's context")
        nursery.stdin.write(json.dumps(order) + "\n")
        nursery.stdin.flush()
        program.pid = int(nursery.stdout.readline())

    def runs(self, name: str) -> bool:
        """Return whether a program is there."""
        return self.programs[name].pid > 0 and _is_there(self.programs[name].pid)

    def has_open(self, name: str, file: Path) -> bool:
        """Return whether a program has a file open: it has come so far, then."""
        folder = Path(f"/proc/{self.programs[name].pid}/fd")
        with contextlib.suppress(OSError):
            return any(one.readlink() == file for one in folder.iterdir())
        return False

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a program and wait until it is gone; nothing where it is gone already."""
        program = self.programs[name]
        if program.pid <= 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, number)
        deadline = perf_counter() + GONE_SECONDS_MAX
        while _is_there(program.pid):
            if perf_counter() > deadline:
                os.kill(program.pid, signal.SIGKILL)
                raise TidegateError(f"{name} does not end by signal {number}")
            PAUSE.wait(STEP_SECONDS)
        program.pid = 0

    def network_classes(self, letter: str) -> set[int]:
        """Return the classes of applications that the network of a card has."""
        told = _run("tc", "-n", self.card(letter), "class", "show", "dev", "eth0")
        numbers = [int(line.split()[2].partition(":")[2], 16) for line in told.splitlines()]
        return {number for number in numbers if number in CLASSES}

    # --- What can happen to them --------------------------------------------------------------

    def cut(self, letter: str) -> None:
        """Take the link of a card down: nobody hears it, and it hears nobody."""
        _ip("link", "set", f"{self.prefix}v{letter}", "down")

    def join(self, letter: str) -> None:
        """Take it up again."""
        _ip("link", "set", f"{self.prefix}v{letter}", "up")

    def fill(self, name: str) -> None:
        """Leave no byte on a program's disk."""
        with (
            contextlib.suppress(OSError),
            (self.programs[name].state / "filler").open("wb", buffering=0) as file,
        ):
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def empty(self, name: str) -> None:
        """Have room again."""
        (self.programs[name].state / "filler").unlink(missing_ok=True)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[World]:
    """Make it all, have the programs run inside the context, and leave nothing of it.

    Raises:
        TidegateError: this needs root, or the machine can't do it.

    """
    if os.geteuid() != 0:
        raise TidegateError("cards in namespaces need root; run it as root")
    number = os.getpid() % 250
    world = World(
        folder=folder,
        prefix=f"tk{number}",
        network=f"10.79.{number}",
        certificates=folder / "operator",
    )
    with contextlib.ExitStack() as stack:
        _certify(world, stack)
        stack.enter_context(_networked(world))
        stack.enter_context(_server(world))
        stack.enter_context(_running(world))
        yield world


def _certify(world: World, stack: contextlib.ExitStack) -> None:
    """Give each program and whoever asks them a certificate and a disk."""
    world.folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(world.folder / "authority", SystemClock())
    authority.init()
    devices = [(letter, Role.DEVICE, world.card(letter)) for letter in CARDS]
    who = [
        *devices,
        (FLEET, Role.FLEET, "cell"),
        (AGENT, Role.AGENT, "server"),
        ("operator", Role.OPERATOR, "me"),
    ]
    for name, role, called in who:
        shown = authority.issue(role, called)
        if name == "operator":
            world.certificates = shown
            continue
        state = world.folder / name
        state.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(state))
        stack.callback(_run, "umount", "-l", str(state))
        own = ["--state", str(state), "--certs", str(shown)]
        world.programs[name] = Program(
            arguments=[*_arguments(world, name), *own],
            state=state,
            log=world.folder / f"{name}.log",
            namespace=world.card(name) if name in CARDS else "",
        )


def _arguments(world: World, name: str) -> list[str]:
    if name == FLEET:
        cards = [
            word for letter in CARDS for word in ("--card", f"{world.card(letter)}={world.address(letter)}")
        ]
        return ["fleet", *cards, "--listen", world.address(FLEET), "--every", "1s"]
    if name == AGENT:
        pattern = f"{world.prefix}server/w*"
        return [
            "agent", "--device", world.address(CARDS[0]), "--name", "server",
            "--workload", pattern, "--act", pattern,
        ]  # fmt: skip
    return [
        "device", "--card", world.card(name), "--listen", world.address(name), "--host", world.host(name),
        "--cores", str(CORES), "--memory", MEMORY, "--has", "network=1Gb", "--namespace", world.card(name),
    ]  # fmt: skip


@contextlib.contextmanager
def _networked(world: World) -> Iterator[None]:
    """Have a namespace for each card, all on one bridge."""
    bridge = f"{world.prefix}br"
    with contextlib.ExitStack() as stack:
        stack.callback(_ip, "link", "del", bridge, may_fail=True)
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{world.network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for letter in CARDS:
            name, link = world.card(letter), f"{world.prefix}v{letter}"
            stack.callback(_ip, "netns", "del", name, may_fail=True)
            _ip("netns", "add", name)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            stack.callback(_ip, "link", "del", link, may_fail=True)
            _ip("link", "set", link, "master", bridge)
            _ip("link", "set", link, "up")
            _ip("-n", name, "addr", "add", f"{world.host(letter)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            stack.callback(_emptied, world, letter)
        yield


@contextlib.contextmanager
def _server(world: World) -> Iterator[None]:
    """Have workloads for the agent: cgroups with a limit, and something in them that works a little."""
    trees = [Path("/sys/fs/cgroup") / tree for tree in ("cpu", "cpuacct", "memory")]
    with contextlib.ExitStack() as stack:
        for number in range(WORKLOADS):
            folders = [tree / f"{world.prefix}server" / f"w{number}" for tree in trees]
            for one in folders:
                one.mkdir(parents=True, exist_ok=True)
                stack.callback(_removed, one)
            (folders[0].parent / "cpu.cfs_quota_us").write_text(str(ALL_QUOTA_MICROSECONDS))
            quota = folders[0] / "cpu.cfs_quota_us"
            quota.write_text(str(QUOTA_MICROSECONDS))
            process = subprocess.Popen(["/bin/sh", "-c", WORK])  # noqa: S603 - a fixed command
            stack.callback(process.wait)
            stack.callback(process.kill)
            for one in folders:
                (one / "cgroup.procs").write_text(str(process.pid))
            limits = (
                quota,
                folders[0] / "cpu.shares",
                folders[2] / "memory.limit_in_bytes",
                folders[2] / "memory.soft_limit_in_bytes",
            )
            world.originals |= {str(file): file.read_text().strip() for file in limits}
        yield


@contextlib.contextmanager
def _running(world: World) -> Iterator[None]:
    """Have the programs run; at the end they are asked to end, as by an operator."""
    words = [sys.executable, "-m", f"{__package__}.killing_nursery", *LOADED]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(  # noqa: S603 - ourselves
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as nursery:
        world._nursery = nursery  # noqa: SLF001 - its own maker
        try:
            if nursery.stdout is None or nursery.stdout.readline() != "ready\n":
                raise TidegateError("the programs can't be loaded; what they said stands above")
            for name in world.programs:
                world.start(name)
            yield
        finally:
            for name in world.programs:
                with contextlib.suppress(TidegateError):
                    world.kill(name, signal.SIGTERM)
            nursery.kill()


def _emptied(world: World, letter: str) -> None:
    """End what is left on a card."""
    with contextlib.suppress(TidegateError):
        runtime = ProcessRuntime(world.card(letter))
        for running in runtime.found():
            runtime.stop(running.name, grace_seconds=0.0)
        runtime.close()
    shutil.rmtree(world.runtime(letter), ignore_errors=True)


def _removed(folder: Path) -> None:
    """Remove a cgroup and the one above it, where nobody is in it any more."""
    deadline = perf_counter() + GONE_SECONDS_MAX
    while folder.exists() and perf_counter() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
        PAUSE.wait(STEP_SECONDS)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _ip(*words: str, may_fail: bool = False) -> None:
    with contextlib.suppress(*([TidegateError] if may_fail else [])):
        _run("ip", *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - fixed commands, no shell
    if done.returncode:
        raise TidegateError(f"'{' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout


__all__ = ["AGENT", "CARDS", "FLEET", "Program", "World", "made"]
