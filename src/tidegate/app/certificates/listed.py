"""What certificates there are in a folder, and how much longer they are good; private keys are not read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cryptography import x509

from tidegate.app.certificates.files import read
from tidegate.model.errors import InputError
from tidegate.wire.certificates import AUTHORITIES, IDENTITY, REVOKED, issued_by, revoked_serials
from tidegate.wire.identities import Identity, Role, identity_in

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.ports import Clock

DAY_SECONDS: Final = 86_400
RENEW_DAYS: Final = 30
"""What is left of 90 days when a certificate is due to be renewed: time to notice that it was not."""


class Standing(Enum):
    """Whether a certificate is good."""

    GOOD = "good"
    DUE = "to be renewed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    FOREIGN = "of no authority believed here"


@dataclass(frozen=True, slots=True)
class Listed:
    """One certificate that was issued."""

    identity: Identity
    folder: Path
    certificate: x509.Certificate
    standing: Standing
    days_left: int
    """Whole days; negative where it has expired."""

    def is_of(self, role: Role, name: str) -> bool:
        """Return whether it was issued to somebody."""
        return self.identity == Identity(role, name)

    @property
    def ends_seconds(self) -> float:
        """Return the seconds since 1970 UTC after which it is good no more."""
        return self.certificate.not_valid_after_utc.timestamp()


def listed(authority: Path, clock: Clock) -> list[Listed]:
    """Return what an authority has issued, by role and name.

    Raises:
        InputError: one of them can't be read.

    """
    found = sorted((authority / "issued").glob(f"*/*/{IDENTITY}"))
    if not found:
        return []
    believed = authorities_in(authority)
    revoked = revoked_serials(authority / REVOKED, believed)
    whole = [path.parent for path in found if not path.parent.name.startswith(".")]
    return [_listed(folder, believed, revoked, clock) for folder in whole]


def listed_folder(folder: Path, clock: Clock) -> Listed:
    """Return the certificate in a program's folder.

    Raises:
        InputError: there is none, or it names nobody.

    """
    believed = authorities_in(folder)
    return _listed(folder, believed, revoked_serials(folder / REVOKED, believed), clock)


def _listed(folder: Path, believed: list[x509.Certificate], revoked: frozenset[int], clock: Clock) -> Listed:
    path = folder / IDENTITY
    try:
        certificate = x509.load_pem_x509_certificates(read(path))[0]
    except ValueError as error:
        raise InputError(f"{path} holds no certificate; issue it anew") from error
    identity = identity_in(certificate)
    if identity is None:
        raise InputError(f"the certificate in {path} names no role of Tidegate; issue it anew")
    left_seconds = certificate.not_valid_after_utc.timestamp() - clock.now_seconds()
    if certificate.serial_number in revoked:
        standing = Standing.REVOKED
    elif left_seconds <= 0:
        standing = Standing.EXPIRED
    elif not any(issued_by(certificate, authority) for authority in believed):
        standing = Standing.FOREIGN
    else:
        standing = Standing.DUE if left_seconds <= RENEW_DAYS * DAY_SECONDS else Standing.GOOD
    return Listed(identity, folder, certificate, standing, int(left_seconds // DAY_SECONDS))


def authorities_in(folder: Path) -> list[x509.Certificate]:
    """Return the authorities that are believed in a folder, the one that signs first.

    Raises:
        InputError: there are none.

    """
    try:
        return x509.load_pem_x509_certificates(read(folder / AUTHORITIES))
    except ValueError as error:
        raise InputError(
            f"{folder / AUTHORITIES} holds no certificate; copy it from the authority"
        ) from error
