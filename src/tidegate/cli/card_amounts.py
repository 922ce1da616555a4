"""Amounts of several resources as people type and read them: ``cpu=1.5,memory=2GiB``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate.cli.amounts import amount_text
from tidegate.cli.resource_names import parse_resources
from tidegate.model.application import Amounts
from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.wire.amounts import to_record

if TYPE_CHECKING:
    from tidegate.wire.card.v1 import amounts_pb2

FIELDS: Final = {
    Resource.CPU: "cpu_cores",
    Resource.MEMORY: "memory_bytes",
    Resource.GPU: "gpu_fraction",
    Resource.NETWORK: "network_bytes_per_second",
    Resource.STORAGE: "storage_bytes_per_second",
}
FORM: Final = "write amounts like cpu=1.5,memory=2GiB,gpu=0.5,network=1Gb,storage=200MB"


def parse_amounts(text: str) -> Amounts:
    """Return the amounts of a text such as ``cpu=1.5,memory=2GiB``; an empty one says nothing.

    Raises:
        InputError: a resource is unknown or stands there twice, or an amount can't be one.

    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, amount = part.partition("=")
        if not equals:
            raise InputError(f"{part!r} is no amount of a resource; {FORM}")
        (resource,) = parse_resources(name)
        if FIELDS[resource] in found:
            raise InputError(f"{resource.label} stands there twice; give it once")
        found[FIELDS[resource]] = _amount(resource, amount.strip())
    return Amounts(**found)  # type: ignore[arg-type] # names and types are the fields'


def _amount(resource: Resource, text: str) -> float:
    if resource not in {Resource.CPU, Resource.GPU}:
        return round(parse_bytes(text))
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{text!r} is no number of {resource.unit}; {FORM}") from error


def amounts_text(message: amounts_pb2.Amounts) -> str:
    """Return amounts as people read them; a dash where nothing is said."""
    known = to_record(message).known()
    said = [amount_text(known[field], res) for res, field in FIELDS.items() if field in known]
    return ", ".join(said) or "-"


def amount_of(message: amounts_pb2.Amounts, resource: Resource) -> str:
    """Return one amount as people read it; a dash where it is not said."""
    known = to_record(message).known()
    return amount_text(known[FIELDS[resource]], resource) if FIELDS[resource] in known else "-"


__all__ = ["FIELDS", "amount_of", "amounts_text", "parse_amounts"]
