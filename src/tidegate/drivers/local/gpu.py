"""GPUs where their driver answers: what each process used of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tidegate.drivers.cgroups.kernel_files import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Gpus:
    """The GPUs of this machine, through NVIDIA's management library."""

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:  # noqa: ANN401 - the module ships no types
        """Take the module and what it calls its devices."""
        self._nvml = nvml
        self._handles = handles
        self._seen = [0] * len(handles)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._handles)

    def read(self) -> dict[int, float] | None:
        """Return what each process used since the last call, as a share of one GPU, summed over them.

        None where the driver does not tell by process. Who is not in it used none.
        """
        used: dict[int, float] = {}
        for at, handle in enumerate(self._handles):
            try:
                samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, self._seen[at])
            except self._nvml.NVMLError as error:
                if error.value == self._nvml.NVML_ERROR_NOT_FOUND:
                    continue  # nobody used it in between
                return None
            percents: dict[int, list[int]] = {}
            for sample in samples:
                if sample.timeStamp > self._seen[at] and sample.pid:
                    percents.setdefault(sample.pid, []).append(sample.smUtil)
            for pid, seen in percents.items():
                used[pid] = used.get(pid, 0.0) + sum(seen) / len(seen) / 100
            self._seen[at] = max([self._seen[at], *(sample.timeStamp for sample in samples)])
        return used

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.nvmlShutdown()


def find_gpus(nvml: Any = None) -> Gpus | None:  # noqa: ANN401 - the module ships no types
    """Return the GPUs, or None without the extra `gpu`, without a driver, or without a GPU."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return None
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return None
    return Gpus(nvml, handles) if handles else None


def by_cgroup(used: Mapping[int, float], paths: Sequence[str], root: Path) -> list[float]:
    """Return what the processes in each cgroup, or below it, used: as many as ``paths``."""
    sums = dict.fromkeys(paths, 0.0)
    for pid, ratio in used.items():
        for path in _homes(pid, root):
            if path in sums:
                sums[path] += ratio
                break
    return list(sums.values())


def _homes(pid: int, root: Path) -> list[str]:
    """Return the cgroups a process is in, each with all above it, lowest first."""
    homes: list[str] = []
    for line in (read_text(f"{root}/proc/{pid}/cgroup") or "").splitlines():
        path = line.split(":", 2)[-1].strip("/")
        while path and path not in homes:
            homes.append(path)
            path = path.rpartition("/")[0]
    return homes
