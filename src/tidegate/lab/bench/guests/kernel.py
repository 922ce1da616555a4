"""Takes what a guest needs out of a distribution's kernel package: the bare kernel, and a few modules."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard

from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

ELF: Final = b"\x7fELF"
SETUP_SECTORS_AT: Final = 0x1F1
PAYLOAD_AT: Final = 0x248
"""Where a bzImage tells how long its first part is, and where in the second the kernel lies
(Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length)."""
LZ4_LEGACY: Final = b"\x02\x21\x4c\x18"
KERNEL_BYTES_MAX: Final = 256 * 2**20
SECONDS_MAX: Final = 30.0
"""How long one command may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """An unpacked kernel package."""

    image: Path
    modules: Path
    """Folder of its modules, which ends in the version."""

    @property
    def version(self) -> str:
        """The kernel's release, as its modules' folder is called."""
        return self.modules.name


def found_kernel(unpacked: Path) -> Kernel:
    """Return the kernel that was unpacked below a folder.

    Raises:
        InputError: there is none.

    """
    images = sorted(unpacked.glob("boot/vmlinuz-*"))
    modules = [
        place
        for image in images
        for top in ("lib", "usr/lib")
        if (place := unpacked / top / "modules" / image.name.removeprefix("vmlinuz-")).is_dir()
    ]
    if not modules:
        raise InputError(f"there is no kernel for guests in {unpacked}; run tests/real/install.sh as root")
    return Kernel(image=images[-1], modules=modules[-1])


def bare(image: bytes) -> bytes:
    """Return the kernel in a bzImage as ELF: QEMU starts that at once, nothing unpacks itself in the guest.

    Raises:
        InputError: it is packed in a way unknown here.

    """
    offset, length = struct.unpack_from("<II", image, PAYLOAD_AT)
    start = ((image[SETUP_SECTORS_AT] or 4) + 1) * 512 + offset
    packed = image[start : start + length]
    elf = _unpacked(packed)
    if not elf.startswith(ELF):
        raise InputError(f"the guest's kernel is packed in an unknown way ({packed[:6].hex()}); take another")
    return elf


def modules_of(kernel: Kernel, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return modules with all they need, in the order in which they must be loaded; by name.

    What is built into the kernel, or not there, is left out.

    Raises:
        InputError: depmod is missing or fails.

    """
    depmod = shutil.which("depmod") or shutil.which("depmod", path="/usr/sbin:/sbin")
    if depmod is None:
        raise InputError("there is no depmod; install kmod")
    top = str(kernel.modules).removesuffix(f"/lib/modules/{kernel.version}")
    _done([depmod, "-b", top, kernel.version])
    needs: dict[str, list[str]] = {}
    files: dict[str, Path] = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        files[_name(file)] = kernel.modules / file
        needs[_name(file)] = [_name(other) for other in others.split()]
    ordered: dict[str, bytes] = {}
    for name in (name.replace("-", "_") for name in wanted):
        # modules.dep has each module's needs in full, the deepest last.
        for one in (*reversed(needs.get(name, [])), name):
            if one in files and one not in ordered:
                ordered[one] = _unpacked(files[one].read_bytes())
    return ordered


def _name(file: str) -> str:
    return Path(file).name.partition(".")[0].replace("-", "_")


def _unpacked(data: bytes) -> bytes:
    """Return what was packed with any of the kernel's ways; what is not packed, as it is."""
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(LZ4_LEGACY):
        # The kernel's own length follows the last block and is no block: what lz4 says of it is no matter.
        return _done(["lz4", "-dc"], data, strict=False)
    return data


def _done(command: list[str], given: bytes = b"", *, strict: bool = True) -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=strict, timeout=SECONDS_MAX)  # noqa: S603
    except FileNotFoundError as error:
        raise InputError(f"there is no {command[0]}; run tests/real/install.sh as root") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise InputError(f"'{' '.join(command)}' failed: {error}") from error
    return done.stdout[:KERNEL_BYTES_MAX]
