"""What a VM's owner says about it, in the domain's own metadata, so that it moves with the domain.

    virsh metadata web urn:tidegate:policy:1 --key tidegate --set '<policy priority="2" plug="yes"/>'

Names and units are those of the rest of Tidegate; what is not said is as for everyone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

POLICY_URI: Final = "urn:tidegate:policy:1"
PRIORITY: Final = 1
PRIORITY_MAX: Final = 8
_YES: Final = {"yes": True, "no": False}
_AMOUNTS: Final = (
    "cpu_cores_min",
    "cpu_cores_max",
    "memory_bytes_min",
    "memory_bytes_max",
    "network_bytes_per_second_max",
    "storage_bytes_per_second_max",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What was said; NaN where nothing was."""

    act: bool = True
    """Whether it may be resized, where it is among those that are."""
    plug: bool = False
    """Whether vCPUs may be plugged and unplugged, not only throttled."""
    priority: int = PRIORITY
    violation_rate: float = math.nan
    cpu_cores_min: float = math.nan
    cpu_cores_max: float = math.nan
    memory_bytes_min: float = math.nan
    memory_bytes_max: float = math.nan
    network_bytes_per_second_max: float = math.nan
    storage_bytes_per_second_max: float = math.nan
    mistake: str = ""
    """What in it can't be read; then it is left alone."""


def policy_of(domain: Element) -> Policy:
    """Return the policy in a domain's XML."""
    element = domain.find(f"metadata/{{{POLICY_URI}}}policy")
    return Policy() if element is None else parsed(dict(element.attrib))


def parsed(said: dict[str, str]) -> Policy:
    """Return the policy of these attributes; one with a mistake says so and allows nothing."""
    try:
        amounts: dict[str, Any] = {
            name: _within(name, said.pop(name), math.inf) for name in _AMOUNTS if name in said
        }
        policy = Policy(
            act=_answer("act", said.pop("act", "yes")),
            plug=_answer("plug", said.pop("plug", "no")),
            priority=int(_within("priority", said.pop("priority", str(PRIORITY)), PRIORITY_MAX)),
            violation_rate=_within("violation_rate", said.pop("violation_rate", "nan"), 0.5),
        )
        policy = replace(policy, **amounts)
        _require_nothing(said)
    except ValueError as error:
        return Policy(act=False, mistake=str(error))
    return policy


def _answer(name: str, text: str) -> bool:
    if text not in _YES:
        raise ValueError(f"'{name}' is yes or no, not '{text}'")
    return _YES[text]


def _require_nothing(left: dict[str, str]) -> None:
    if left:
        raise ValueError(f"there is no '{min(left)}'")


def _within(name: str, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value <= 0 or value > most or value == math.inf:
        raise ValueError(f"'{name}' can't be '{text}'")
    return value
