"""Who asks: the role and the name in a certificate, or whoever is on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from tidegate.model.application import NAME
from tidegate.model.refusals import Because, Refusal

if TYPE_CHECKING:
    import grpc

SCHEME: Final = "tidegate"
"""Of the URI in a certificate: `tidegate:agent:web-1`."""
CERTIFICATES_HELD_MAX: Final = 1024
"""Peers whose certificate was read already and need not be read again at each call."""


class Role(Enum):
    """What a program is, or a person."""

    AGENT = "agent"
    DEVICE = "device"
    FLEET = "fleet"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is: a role, and the name of a server, a card, a cell or a person."""

    role: Role | None
    """None on a socket of this machine, which no certificate guards: who may open it may ask."""
    name: str

    def __str__(self) -> str:
        """Return it as certificates have it."""
        return self.name if self.role is None else f"{SCHEME}:{self.role.value}:{self.name}"

    @property
    def host_name(self) -> str:
        """Return the name a client expects in this one's certificate, as TLS compares host names."""
        return self.name if self.role is None else f"{self.name}.{host_name_of(self.role)}"


LOCAL: Final = Identity(None, "local")
"""Whoever is on this machine and may open the socket."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of a certificate that a peer has shown, and that TLS has found good then."""

    identity: Identity
    serial: int
    ends_seconds: float
    """Seconds since 1970 UTC after which it is good no more."""


def host_name_of(role: Role) -> str:
    """Return the name that every certificate of a role has, for clients that know no more."""
    return f"{role.value}.{SCHEME}"


def identity_in(certificate: x509.Certificate) -> Identity | None:
    """Return who a certificate is about, None where it names nobody known here."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    found = [identity for uri in uris if (identity := identity_of(uri)) is not None]
    return found[0] if len(found) == 1 else None


def identity_of(text: str) -> Identity | None:
    """Return who `tidegate:ROLE:NAME` is, None where it is nobody."""
    scheme, role, name = [*text.split(":", 2), "", ""][:3]
    known = {each.value: each for each in Role}
    if scheme != SCHEME or role not in known or NAME.fullmatch(name) is None:
        return None
    return Identity(known[role], name)


def identity(context: grpc.aio.ServicerContext[Any, Any]) -> Identity:
    """Return who asks: `LOCAL` where the call came without TLS, and so from this machine.

    Raises:
        Refusal: the certificate names nobody (`Because.UNKNOWN_PEER`).

    """
    peer = peer_of(context)
    return LOCAL if peer is None else peer.identity


def peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> Peer | None:
    """Return what is known of the caller's certificate; None without TLS.

    Raises:
        Refusal: the certificate names nobody (`Because.UNKNOWN_PEER`).

    """
    told: Any = context.auth_context()
    if not any(kind in {b"ssl", "ssl"} for kind in told.get("transport_security_type", ())):
        return None
    shown = list(told.get("x509_pem_cert", ()))
    peer = _read(bytes(shown[0])) if shown else None
    if peer is None:
        raise Refusal(
            Because.UNKNOWN_PEER,
            "the certificate shown names no role of Tidegate; issue one with 'tidegate certs issue'",
        )
    return peer


def require(context: grpc.aio.ServicerContext[Any, Any], *roles: Role, name: str | None = None) -> Identity:
    """Return who asks, if it has one of these roles, and this name where one is given; local callers may.

    Raises:
        Refusal: it has another (`Because.NOT_ALLOWED`), or none (`Because.UNKNOWN_PEER`).

    """
    who = identity(context)
    if who == LOCAL:
        return who
    if who.role not in roles:
        allowed = " or ".join(role.value for role in roles)
        raise Refusal(Because.NOT_ALLOWED, f"{who} may not ask for this; a certificate of role {allowed} may")
    if name is not None and who.name != name:
        raise Refusal(Because.NOT_ALLOWED, f"{who} may not speak as '{name}'; give each its own certificate")
    return who


@lru_cache(maxsize=CERTIFICATES_HELD_MAX)
def _read(pem: bytes) -> Peer | None:
    certificate = x509.load_pem_x509_certificate(pem)
    who = identity_in(certificate)
    if who is None:
        return None
    return Peer(who, certificate.serial_number, certificate.not_valid_after_utc.timestamp())
