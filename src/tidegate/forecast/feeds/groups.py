"""Which series answer to a feed together: those of a server, of a name, or all."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tidegate.model.panel import Panel

GROUPS_MAX: Final = 256
"""Groups that are tested on their own; the smallest beyond are one, `OTHERS`."""
OTHERS: Final = "others"
EVERYBODY: Final = "all"
_STEM: Final = re.compile(r"[\W_\d]+$")


def by_server(panel: Panel) -> tuple[str, ...]:
    """Return the server of each series; `EVERYBODY` where none is known."""
    return panel.groups or (EVERYBODY,) * len(panel.names)


def by_stem(panel: Panel) -> tuple[str, ...]:
    """Return what each name starts with, before its number: ``web-01`` and ``web-02`` are ``web``."""
    return tuple(_STEM.sub("", name) or EVERYBODY for name in panel.names)


def by_server_or_stem(panel: Panel) -> tuple[str, ...]:
    """Return the server of each series where servers are known, else what its name starts with."""
    return panel.groups or by_stem(panel)


def all_together(panel: Panel) -> tuple[str, ...]:
    """Return one group."""
    return (EVERYBODY,) * len(panel.names)


def bounded(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels with the smallest groups beyond `GROUPS_MAX` made one."""
    sizes = Counter(labels)
    if len(sizes) <= GROUPS_MAX:
        return tuple(labels)
    ranked = sorted(sizes, key=lambda label: (-sizes[label], label))
    kept = frozenset(ranked[: GROUPS_MAX - 1])
    return tuple(label if label in kept else OTHERS for label in labels)


GROUPINGS: Final[dict[str, Callable[[Panel], tuple[str, ...]]]] = {
    "server": by_server,
    "name": by_stem,
    "server_or_name": by_server_or_stem,
    "all": all_together,
}
"""How series may be grouped, by what an operator calls it."""
