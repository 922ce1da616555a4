"""Who we are to an agent: a community of version 2c, or a user of version 3."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from tidegate.model.errors import InputError

PASSPHRASE_LENGTH_MIN: Final = 8
"""RFC 3414, 11.2 wants so many."""


class Authentication(Enum):
    """How messages are signed (RFC 3414, RFC 7860); MD5 is left out, being broken."""

    SHA1 = "USM_AUTH_HMAC96_SHA"
    SHA224 = "USM_AUTH_HMAC128_SHA224"
    SHA256 = "USM_AUTH_HMAC192_SHA256"
    SHA384 = "USM_AUTH_HMAC256_SHA384"
    SHA512 = "USM_AUTH_HMAC384_SHA512"


class Privacy(Enum):
    """How messages are encrypted (RFC 3826; the longer keys as Cisco has them); DES is left out."""

    AES128 = "USM_PRIV_CFB128_AES"
    AES192 = "USM_PRIV_CFB192_AES"
    AES256 = "USM_PRIV_CFB256_AES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """A password of version 2c, which everybody on the way can read."""

    name: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of version 3; without a passphrase for privacy, answers can be read on the way."""

    name: str
    authentication_passphrase: str = field(repr=False)
    authentication: Authentication = Authentication.SHA256
    privacy_passphrase: str = field(default="", repr=False)
    privacy: Privacy = Privacy.AES128

    def __post_init__(self) -> None:
        """Refuse passphrases that no agent takes.

        Raises:
            InputError: one is too short.

        """
        short = len(self.authentication_passphrase) < PASSPHRASE_LENGTH_MIN
        if short or 0 < len(self.privacy_passphrase) < PASSPHRASE_LENGTH_MIN:
            raise InputError(
                f"passphrases of SNMP user '{self.name}' need {PASSPHRASE_LENGTH_MIN} characters or more"
            )


Access = Community | User


def credentials(access: Access) -> Any:  # noqa: ANN401 - pysnmp's
    """Return what pysnmp wants to be given."""
    from pysnmp.hlapi.v3arch import asyncio as snmp

    if isinstance(access, Community):
        return snmp.CommunityData(access.name, mpModel=1)  # noqa: S508 - many switches have no better
    private = bool(access.privacy_passphrase)
    return snmp.UsmUserData(
        access.name,
        access.authentication_passphrase,
        access.privacy_passphrase if private else None,
        authProtocol=getattr(snmp, access.authentication.value),
        privProtocol=getattr(snmp, access.privacy.value if private else "USM_PRIV_NONE"),
    )
