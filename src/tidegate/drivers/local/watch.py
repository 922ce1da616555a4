"""Keeps an eye on who the workloads are: searches again only when something about them changed."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.drivers.local.discover import Trail, find_cgroups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tidegate.drivers.cgroups.hierarchy import Hierarchy
    from tidegate.drivers.local.discover import Cgroup

SEARCH_SECONDS_MAX: Final = 10.0
"""After so long everything is searched anew: until then it goes unseen when the process that stood for a
cgroup lives on in another one, and neither was made or empty before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The workloads, and the network namespace that a process of each lives in."""

    cgroups: tuple[Cgroup, ...] = ()
    """The same object as long as they are the same."""
    namespaces: tuple[str | None, ...] = ()
    """As the kernel names it; None where nobody is in it, or it may not be looked at."""


class Watch:
    """The cgroups that are workloads, time and again."""

    def __init__(self, hierarchy: Hierarchy, chosen: Sequence[str], *, root: Path) -> None:
        """Watch those that match ``chosen``, or the usual ones where it is empty."""
        self._hierarchy = hierarchy
        self._chosen = tuple(chosen)
        self._root = root
        self._search_seconds = -math.inf
        self._trail = Trail()
        self._cgroups: tuple[Cgroup, ...] = ()
        self._links: tuple[str | None, ...] = ()

    def find(self, time_seconds: float) -> Found:
        """Return the workloads, by path; ``time_seconds`` is on a clock that never jumps.

        None of them where process groups are to stand in for cgroups.
        """
        if not self._hierarchy.measures and not self._chosen:
            return Found()
        if time_seconds < self._search_seconds and self._trail.holds():
            namespaces, all_live = _targets(self._links)
            if all_live:
                return Found(cgroups=self._cgroups, namespaces=namespaces)
        self._search(time_seconds)
        return Found(cgroups=self._cgroups, namespaces=_targets(self._links)[0])

    def forget(self) -> None:
        """Search anew next time: one of those found is gone."""
        self._search_seconds = -math.inf

    def _search(self, time_seconds: float) -> None:
        self._search_seconds = time_seconds + SEARCH_SECONDS_MAX
        self._trail = Trail()
        found = tuple(find_cgroups(self._hierarchy, self._chosen, trail=self._trail))
        if found != self._cgroups:
            self._cgroups = found
            self._links = tuple(
                None if cgroup.pid is None else f"{self._root}/proc/{cgroup.pid}/ns/net" for cgroup in found
            )


def namespace(process_link: str) -> str | None:
    """Return what a link in /proc to a namespace says; None where it may not be looked at."""
    return _targets((process_link,))[0][0]


def _targets(links: Sequence[str | None]) -> tuple[tuple[str | None, ...], bool]:
    """Return where the links of processes lead, and whether all those processes are still there."""
    targets: list[str | None] = []
    all_live = True
    for link in links:
        target = None
        if link is not None:
            try:
                target = os.readlink(link)  # noqa: PTH115 - hundreds a read
            except PermissionError:
                pass
            except OSError:
                all_live = False
        targets.append(target)
    return tuple(targets), all_live
