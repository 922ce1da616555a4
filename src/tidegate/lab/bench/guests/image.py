"""The image of a tiny guest: a kernel and an initramfs of busybox, a few modules and the agent; cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.lab.bench.guests.archive import Entry, archive, folder, link, program, terminal
from tidegate.lab.bench.guests.kernel import bare, found_kernel, modules_of
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANNEL: Final = "org.tidegate.agent.0"
"""Name of the virtio-serial port on which the agent listens: reversed domain and number, as libvirt asks."""
MODULES: Final = (
    "virtio_pci",
    "virtio_console",
    "virtio_balloon",
    "virtio_blk",
    "virtio_net",
    "virtio_mem",
    "virtio_rng",
)
FOLDERS: Final = ("bin", "dev", "etc", "lib", "lib/modules", "mnt", "proc", "root", "run", "sys", "tmp")
BUSYBOX: Final = Path("/bin/busybox")
IMAGES_MAX: Final = 4
"""Built images kept; older ones are removed."""
SECONDS_MAX: Final = 60.0
"""How long the compiler may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a guest boots from."""

    kernel: Path
    initramfs: Path


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where guests are kept, as the XDG base directory specification has it.

    A cache home that is not a whole path is ignored, as it asks.
    """
    given = environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():
        return Path(given) / "tidegate" / "guest"
    return Path(environ.get("HOME") or Path.cwd()) / ".cache" / "tidegate" / "guest"


def built_image(cache: Path | None = None) -> Image:
    """Return the guest's image, built if it is not yet, or of other parts; needs no root.

    Raises:
        InputError: a part is missing; the sentence says how to get it.

    """
    cache = cache_folder() if cache is None else cache
    kernel = found_kernel(cache / "kernel")
    key = _key(kernel.image.name)
    place = cache / "images" / key
    image = Image(kernel=place / "vmlinux", initramfs=place / "initramfs.cpio")
    if image.kernel.exists() and image.initramfs.exists():
        os.utime(place)
        return image
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as fresh:
        beside = Path(fresh) / "image"
        beside.mkdir()
        (beside / image.kernel.name).write_bytes(bare(kernel.image.read_bytes()))
        modules = modules_of(kernel, MODULES)
        (beside / image.initramfs.name).write_bytes(archive(_entries(modules, _agent(Path(fresh)))))
        if not place.exists():  # else another process was first
            beside.rename(place)
    _forget_oldest(place.parent)
    return image


def _key(kernel_name: str) -> str:
    """Return what tells this image from one of other parts."""
    parts = hashlib.sha256(kernel_name.encode())
    for name in ("agent.c", "init.sh"):
        parts.update(_source(name))
    parts.update(_busybox()[:4096])
    parts.update(" ".join((*MODULES, CHANNEL)).encode())
    return parts.hexdigest()[:16]


def _entries(modules: Mapping[str, bytes], agent: bytes) -> list[Entry]:
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, check=True, text=True).stdout.split()  # noqa: S603
    init = _source("init.sh").decode().replace("@MODULES@", " ".join(modules)).replace("@CHANNEL@", CHANNEL)
    return [
        *map(folder, FOLDERS),
        terminal("dev/console", 5, 1),
        terminal("dev/null", 1, 3),
        program("bin/busybox", _busybox()),
        *(link(f"bin/{applet}", "busybox") for applet in applets if applet != "busybox"),
        program("bin/agent", agent),
        *(program(f"lib/modules/{name}.ko", module) for name, module in modules.items()),
        program("init", init.encode()),
    ]


def _busybox() -> bytes:
    try:
        return BUSYBOX.read_bytes()
    except OSError as error:
        raise InputError(
            f"there is no {BUSYBOX} (busybox-static); run tests/real/install.sh as root"
        ) from error


def _agent(where: Path) -> bytes:
    """Return the agent, compiled so that it needs no library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise InputError("there is no C compiler for the guest's agent; run tests/real/install.sh as root")
    source, binary = where / "agent.c", where / "agent"
    source.write_bytes(_source("agent.c"))
    command = [compiler, "-O2", "-static", "-pthread", "-s", "-o", str(binary), str(source), "-lm"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=SECONDS_MAX)  # noqa: S603
    if done.returncode != 0:
        raise InputError(f"the guest's agent can't be compiled: {done.stderr.strip()[-200:]}")
    return binary.read_bytes()


def _source(name: str) -> bytes:
    return resources.files("tidegate.lab.bench.guests").joinpath(name).read_bytes()


def _forget_oldest(images: Path) -> None:
    built = sorted(
        (place for place in images.iterdir() if not place.name.startswith(".")),
        key=lambda place: place.stat().st_mtime,
    )
    for place in built[:-IMAGES_MAX]:
        shutil.rmtree(place, ignore_errors=True)
