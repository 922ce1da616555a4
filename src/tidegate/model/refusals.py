"""What a program answers where it does not do what it was asked: why, and the field that is meant."""

from __future__ import annotations

from enum import Enum

from tidegate.model.errors import InputError, TidegateError


class Because(Enum):
    """Why something was refused; each is one status of the protocol."""

    INVALID = "what was asked for can't be"
    NOT_FOUND = "there is none of that name"
    EXISTS = "there is one of that name"
    NOT_NOW = "the state it is in does not allow it"
    NO_ROOM = "there is not enough left"
    STALE = "it was decided on a state that is past"
    UNREACHABLE = "nobody answered"
    TOO_LATE = "the answer took too long"
    NOT_ALLOWED = "this one may not ask for it"
    UNKNOWN_PEER = "nobody knows who asks"
    UNSUPPORTED = "this one can't do that"
    BROKEN = "the other one failed in a way it did not expect"


class Refusal(TidegateError):  # noqa: N818 - an answer, not always an error
    """Something was not done, and nothing was changed; the message is one sentence with its remedy."""

    def __init__(
        self, because: Because, message: str, *, field: str = "", limit: float | None = None
    ) -> None:
        """Refuse; ``field`` is the path of the field meant, ``limit`` what it is held against."""
        super().__init__(message)
        self.because = because
        self.field = field
        self.limit = limit


class InvalidField(Refusal, InputError):  # noqa: N818 - an answer, not always an error
    """A field of a message can't be what it is."""

    def __init__(self, field: str, message: str, *, limit: float | None = None) -> None:
        """Refuse a field, which the message is put after."""
        super().__init__(Because.INVALID, f"{field}: {message}", field=field, limit=limit)


class RefusedInput(Refusal, InputError):  # noqa: N818 - an answer, not always an error
    """Another program refused what a person named or gave: commands exit with code 2."""


OF_INPUT = frozenset({Because.INVALID, Because.NOT_FOUND, Because.EXISTS})
"""What is mended by asking for something else."""


def refusal(because: Because, message: str, *, field: str = "", limit: float | None = None) -> Refusal:
    """Return the refusal whose type says whether other input would help."""
    kind = RefusedInput if because in OF_INPUT else Refusal
    return kind(because, message, field=field, limit=limit)
