"""Amounts of resources: cores in records, thousandths in messages; what is not said stays unsaid."""

from __future__ import annotations

from typing import Final

from tidegate.model.application import Amounts
from tidegate.model.refusals import InvalidField
from tidegate.wire.card.v1 import amounts_pb2

MILLIS: Final = 1000
"""Thousandths in a whole."""
AMOUNT_MAX: Final = 2**53
"""Most of anything, in the message's unit: what a double still counts by ones, and nine petabytes."""

RATIOS: Final = {"cpu_millis": "cpu_cores", "gpu_millis": "gpu_fraction"}
"""Fields in thousandths, and what the record calls them."""
COUNTS: Final = ("memory_bytes", "network_bytes_per_second", "storage_bytes_per_second")
"""Fields that are the same in both."""


def to_message(amounts: Amounts) -> amounts_pb2.Amounts:
    """Return amounts as they are sent: thousandths are rounded, but nothing above zero becomes none.

    Raises:
        InvalidField: an amount is too large to be sent.

    """
    said = amounts.known()
    sent: dict[str, int] = {}
    for field, name in RATIOS.items():
        if name in said:
            millis = round(min(said[name] * MILLIS, AMOUNT_MAX + 1))
            sent[field] = max(millis, 1) if said[name] > 0 else 0
    for field in COUNTS:
        if field in said:
            sent[field] = round(min(said[field], AMOUNT_MAX + 1))
    for field, amount in sent.items():
        _check(field, amount)
    return amounts_pb2.Amounts(**sent)


def to_record(message: amounts_pb2.Amounts) -> Amounts:
    """Return amounts as they were sent.

    Raises:
        InvalidField: one is negative, or above `AMOUNT_MAX`.

    """
    said = {field.name: int(amount) for field, amount in message.ListFields()}
    for field, amount in said.items():
        _check(field, amount)
    cpu, gpu = said.get("cpu_millis"), said.get("gpu_millis")
    return Amounts(
        cpu_cores=None if cpu is None else cpu / MILLIS,
        gpu_fraction=None if gpu is None else gpu / MILLIS,
        memory_bytes=said.get("memory_bytes"),
        network_bytes_per_second=said.get("network_bytes_per_second"),
        storage_bytes_per_second=said.get("storage_bytes_per_second"),
    )


def _check(field: str, amount: int) -> None:
    if not 0 <= amount <= AMOUNT_MAX:
        shown = f"{amount} is" if amount <= AMOUNT_MAX else "it is"
        raise InvalidField(field, f"{shown} outside 0-{AMOUNT_MAX}", limit=AMOUNT_MAX)
