"""One trained model's folder: written once, and read only when every byte of it is as it was written.

`SHA256SUMS` names what `card.json` and `weights.safetensors` must hash to, in the form `sha256sum -c`
reads. A signature would be over that one file, and be checked where it is compared. Weights are numbers
and never code: safetensors, not pickle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import safetensors
from safetensors import numpy as tensors

from tidegate.app.artefacts.card import checked_card, decoded_card, encoded_card
from tidegate.app.artefacts.disk import read_file, write_new
from tidegate.app.artefacts.sealed import sealed, unsealed
from tidegate.app.artefacts.stages import Life
from tidegate.model.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tidegate.app.artefacts.card import Card

WEIGHTS: Final = "weights.safetensors"
CARD: Final = "card.json"
SUMS: Final = "SHA256SUMS"
STAGE: Final = "stage.json"
RECORD: Final = "record.json"
WEIGHTS_BYTES_MAX: Final = 256 * 2**20
"""A card runs models with one GiB of memory."""
CARD_BYTES_MAX: Final = 64 * 2**10
SMALL_BYTES_MAX: Final = 2**20
"""Of checksums, stage and record."""
DTYPES: Final = frozenset(
    [
        "float64",
        "float32",
        "float16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint16",
        "uint8",
        "bool",
    ]
)
REMEDY: Final = "restore the folder from a copy, or train the model again"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A model whose every byte is as it was written."""

    card: Card
    weights: Mapping[str, NDArray[np.generic]]


def open_model(
    folder: Path,
    *,
    kind: str | None = None,
    resource: str | None = None,
    step_seconds: int | None = None,
) -> Opened:
    """Return the card and the weights of a model, if it is whole and what was asked for.

    Raises:
        InputError: it is not there, was altered or cut short, is of another version or too large, a file of
            it is a link, or it is of another kind, resource or step than asked for.

    """
    card = read_card(folder)
    life = read_life(folder)
    if (life.weights_sha256, life.slot) != (card.weights_sha256, card.slot):
        raise InputError(f"{folder / STAGE} is of another model of that name; {REMEDY}")
    for what, is_, wanted in (
        ("kind", card.kind, kind),
        ("resource", card.resource, resource),
        ("step in seconds", card.step_seconds, step_seconds),
    ):
        if wanted is not None and is_ != wanted:
            raise InputError(
                f"model '{card.name}' can't be used here: its {what} is {is_}, and {wanted} is needed; "
                "train one for this"
            )
    data = read_file(folder, WEIGHTS, bytes_max=WEIGHTS_BYTES_MAX)
    if len(data) != card.weights_bytes or hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise _altered(folder / WEIGHTS)
    try:
        return Opened(card=card, weights=tensors.load(data))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{folder / WEIGHTS} holds no arrays ({error}); {REMEDY}") from error


def read_card(folder: Path) -> Card:
    """Return the card of a model without looking into its weights.

    Raises:
        InputError: the card or `SHA256SUMS` is not as it was written, or the folder has another name.

    """
    sums = read_file(folder, SUMS, bytes_max=SMALL_BYTES_MAX)
    data = read_file(folder, CARD, bytes_max=CARD_BYTES_MAX)
    if _sum_line(CARD, data) not in sums.splitlines(keepends=True):
        raise _altered(folder / CARD)
    card = decoded_card(data, str(folder / CARD))
    if _sums(data, card.weights_sha256) != sums:
        raise _altered(folder / SUMS)
    if card.name != folder.name:
        raise InputError(f"{folder} holds the model '{card.name}'; rename the folder back to that")
    return card


def read_life(folder: Path) -> Life:
    """Return the stage of a model and how it came there.

    Raises:
        InputError: `stage.json` is not as it was written, or belongs to another model.

    """
    where = folder / STAGE
    data = read_file(folder, STAGE, bytes_max=SMALL_BYTES_MAX)
    try:
        life = unsealed(data, Life)
    except ValueError as error:
        raise InputError(f"{where} can't be trusted ({error}); {REMEDY}") from error
    if life.name != folder.name or not life.history:
        raise InputError(f"{where} is of the model '{life.name}'; {REMEDY}")
    return life


def packed(card: Card, weights: Mapping[str, NDArray[np.generic]]) -> tuple[Card, bytes]:
    """Return the card as it will be written, and the file of the weights.

    Raises:
        InputError: there are no weights, too many, or some that are no plain numbers; or the card can't be.

    """
    if not weights:
        raise InputError(f"model '{card.name}' has learned nothing that could be stored; train it first")
    for name, array in weights.items():
        if array.dtype.name not in DTYPES:
            raise InputError(
                f"model '{card.name}' remembers '{name}' as {array.dtype.name}, which can't be stored; "
                "let its state() return plain numbers"
            )
    size = sum(array.nbytes for array in weights.values())
    # In rows: the library writes an array's memory as it lies.
    data = b"" if size > WEIGHTS_BYTES_MAX else tensors.save(_in_rows(weights))
    if not 0 < len(data) <= WEIGHTS_BYTES_MAX:
        raise InputError(
            f"model '{card.name}' has {size:,} bytes of weights, and at most {WEIGHTS_BYTES_MAX:,} are "
            "stored; train a smaller one"
        )
    digest = hashlib.sha256(data).hexdigest()
    whole = msgspec.structs.replace(card, weights_bytes=len(data), weights_sha256=digest)
    if len(encoded_card(checked_card(whole))) > CARD_BYTES_MAX:
        raise InputError(
            f"the card of '{card.name}' is larger than {CARD_BYTES_MAX:,} bytes; train on fewer files"
        )
    return whole, data


def write_model(folder: Path, card: Card, data: bytes, life: Life) -> None:
    """Write all files of a model, of `packed`, into a new folder that nobody looks at yet."""
    text = encoded_card(card)
    write_new(folder / WEIGHTS, data)
    write_new(folder / CARD, text)
    write_new(folder / SUMS, _sums(text, card.weights_sha256))
    write_new(folder / STAGE, sealed(life))


def _in_rows(weights: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
    return {name: np.array(weights[name], order="C") for name in sorted(weights)}


def _sums(card: bytes, weights_sha256: str) -> bytes:
    return _sum_line(CARD, card) + f"{weights_sha256}  {WEIGHTS}\n".encode()


def _sum_line(name: str, data: bytes) -> bytes:
    return f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode()


def _altered(path: Path) -> InputError:
    return InputError(f"{path} was altered or cut short: its checksum is another; {REMEDY}")


__all__ = [
    "CARD",
    "RECORD",
    "SMALL_BYTES_MAX",
    "STAGE",
    "SUMS",
    "WEIGHTS",
    "WEIGHTS_BYTES_MAX",
    "Opened",
    "open_model",
    "packed",
    "read_card",
    "read_life",
    "write_model",
]
