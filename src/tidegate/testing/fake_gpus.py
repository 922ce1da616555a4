"""Kinds of GPUs for the fake library: how each may be cut, as NVIDIA documents it.

Profiles, numbers and places are those that ``nvidia-smi mig -lgip`` and ``-lgipp`` print (NVIDIA's
Multi-Instance GPU User Guide, chapters "Supported MIG Profiles" and "Getting Started with MIG").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeProfile:
    """One row of the library's table of profiles."""

    number: int
    """NVML_GPU_INSTANCE_PROFILE_..."""
    profile_id: int
    name: str
    slices: int
    """Compute slices."""
    instances: int
    processors: int
    memory_mebibytes: int
    size: int
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeKind:
    """A model of GPU; without profiles it can't be cut."""

    name: str
    memory_mebibytes: int
    profiles: tuple[FakeProfile, ...] = ()
    counts_by_slice: bool = False
    """Whether it tells how busy each slice is (GPM)."""
    turns_on_at_once: bool = True
    """Whether MIG mode switches without a reset of the machine."""


def _profiles(
    *,
    one: str,
    two: str,
    three: str,
    four: str,
    seven: str,
    memory: tuple[int, ...],
    processors: tuple[int, ...],
    wide: str,
) -> tuple[FakeProfile, ...]:
    """Return the rows of a GPU of seven compute and eight memory slices, as A100 and H100 are."""
    rows = (
        (0, 19, one, 1, 7, 1, tuple(range(7))),
        (7, 20, f"{one}+me", 1, 1, 1, tuple(range(7))),
        (9, 15, wide, 1, 4, 2, (0, 2, 4, 6)),
        (1, 14, two, 2, 3, 2, (0, 2, 4)),
        (2, 9, three, 3, 2, 4, (0, 4)),
        (3, 5, four, 4, 1, 4, (0,)),
        (4, 0, seven, 7, 1, 8, (0,)),
    )
    return tuple(
        FakeProfile(
            number=number,
            profile_id=profile_id,
            name=name,
            slices=slices,
            instances=instances,
            processors=processors[at],
            memory_mebibytes=memory[at],
            size=size,
            starts=starts,
        )
        for at, (number, profile_id, name, slices, instances, size, starts) in enumerate(rows)
    )


A100_40GB: Final = FakeKind(
    name="NVIDIA A100-SXM4-40GB",
    memory_mebibytes=40_960,
    profiles=_profiles(
        one="1g.5gb",
        wide="1g.10gb",
        two="2g.10gb",
        three="3g.20gb",
        four="4g.20gb",
        seven="7g.40gb",
        memory=(4864, 4864, 9984, 9984, 20_096, 20_096, 40_448),
        processors=(14, 14, 14, 28, 42, 56, 98),
    ),
)
H100_80GB: Final = FakeKind(
    name="NVIDIA H100 80GB HBM3",
    memory_mebibytes=81_559,
    profiles=_profiles(
        one="1g.10gb",
        wide="1g.20gb",
        two="2g.20gb",
        three="3g.40gb",
        four="4g.40gb",
        seven="7g.80gb",
        memory=(9984, 9984, 20_096, 20_096, 40_448, 40_448, 81_152),
        processors=(16, 16, 26, 32, 60, 64, 132),
    ),
    counts_by_slice=True,
)
T4: Final = FakeKind(name="Tesla T4", memory_mebibytes=15_360)
"""Can't be cut."""
