"""A libvirtd of our own: no service, no shared socket, none of the machine's settings touched.

It runs in a mount namespace of its own in which everything libvirt keeps at fixed places is ours, so any
number of them stand beside each other and beside the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.guests.image import cache_folder
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READY_SECONDS_MAX: Final = 30.0
"""How long it may take until it answers; it asks every emulator what it can, the first time."""
STOP_SECONDS_MAX: Final = 10.0
POLL_SECONDS: Final = 0.05
FIXED: Final = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/run/libvirt")
"""What libvirt keeps at places that nothing can change."""
CACHE: Final = "/var/cache/libvirt"
"""What emulators can; kept from one to the next, since asking takes seconds."""
QEMU_CONF: Final = """\
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
namespaces = []
"""


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One libvirtd; `started` makes it."""

    folder: Path
    namespace: str = ""
    """Network namespace it lives in; empty: the machine's."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "sock" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """What to open."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def pid(self) -> int:
        """Number of its process."""
        assert self._process is not None, "the daemon has been started"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            InputError: it ended, or did not listen in time; the sentence has its last words.

        """
        log = self.folder / "libvirtd.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: S603
                self._command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        pause = threading.Event()
        deadline = perf_counter() + READY_SECONDS_MAX
        while not self.socket.exists():
            if self._process.poll() is not None or perf_counter() > deadline:
                self.stop()
                raise InputError(f"libvirtd does not start: {log.read_text(errors='replace')[-300:].strip()}")
            pause.wait(POLL_SECONDS)

    def stop(self) -> None:
        """End it; its domains go on, as they do when a daemon is restarted."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.socket.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        """Return how it is started: mounts first, then it in place of the shell that made them."""
        mounts = [f"mount --bind {self.folder / _flat(place)} {place}" for place in FIXED]
        mounts.append(f"mount --bind {_kept()} {CACHE}")
        run = f"exec libvirtd -f {self.folder}/libvirtd.conf -p {self.folder}/libvirtd.pid"
        script = " && ".join(["mount --make-rprivate /", *mounts, run])
        entered = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        return [*entered, "unshare", "--mount", "sh", "-c", script]


@contextlib.contextmanager
def started(folder: Path, *, namespace: str = "") -> Iterator[Daemon]:
    """Lend a libvirtd that keeps everything in an empty folder; its domains end with it.

    Raises:
        InputError: it can't be had here; the sentence says why.

    """
    require_libvirtd()
    for place in FIXED:
        (folder / _flat(place)).mkdir(parents=True)
        Path(place).mkdir(parents=True, exist_ok=True)
    Path(CACHE).mkdir(parents=True, exist_ok=True)
    _kept().mkdir(parents=True, exist_ok=True)
    (folder / "sock").mkdir()
    (folder / _flat("/etc/libvirt") / "qemu.conf").write_text(QEMU_CONF)
    host = uuid.uuid5(uuid.NAMESPACE_URL, str(folder))
    (folder / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{folder}/sock"\nhost_uuid = "{host}"\nauth_unix_rw = "none"\n'
    )
    groups_before = set(_groups())
    daemon = Daemon(folder=folder, namespace=namespace)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        _end_guests(folder / _flat("/run/libvirt") / "qemu")
        for group in set(_groups()) - groups_before:
            with contextlib.suppress(OSError):  # another daemon has guests in it by now
                group.rmdir()


def require_libvirtd(environ: Mapping[str, str] = os.environ) -> None:
    """Refuse where there can be no libvirtd of our own.

    Raises:
        InputError: a program is missing, or this is not root.

    """
    missing = [
        program
        for program in ("libvirtd", "qemu-system-x86_64", "unshare", "mount")
        if shutil.which(program, path=f"{environ.get('PATH', '')}:/usr/sbin:/sbin") is None
    ]
    if missing:
        raise InputError(f"there is no {', no '.join(missing)}; run tests/real/install.sh as root")
    if os.geteuid() != 0:
        raise InputError("a libvirtd with guests of its own needs root; run it with sudo")


def _groups() -> list[Path]:
    """Return the control groups in which libvirt has those of its guests."""
    top = Path("/sys/fs/cgroup")
    return [*top.glob("machine"), *top.glob("*/machine")]


def _flat(place: str) -> str:
    return place.strip("/").replace("/", "-")


def _kept() -> Path:
    return cache_folder() / "libvirt"


def _end_guests(running: Path) -> None:
    """End the emulators whose pid files lie there: they outlive their daemon."""
    for file in running.glob("*.pid"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            if file.stem.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
