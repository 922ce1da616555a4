"""libvirt's Python binding, loaded when it is first needed, and what its errors mean here."""

from __future__ import annotations

import threading
from typing import Any, Final

from tidegate.model.errors import InputError

MISSING: Final = (
    "libvirt's Python binding is not installed; run pip install 'tidegate[libvirt]', "
    "which builds against libvirt-dev or libvirt-devel"
)
LOST_CODES: Final = frozenset({5, 6, 38, 39})
"""VIR_ERR_NO_CONNECT, INVALID_CONN, SYSTEM_ERROR, RPC: the daemon is gone (libvirt/virterror.h)."""
GONE_CODE: Final = 42
"""VIR_ERR_NO_DOMAIN."""
UNSUPPORTED_CODES: Final = frozenset({3, 8, 55, 67, 84})
"""VIR_ERR_NO_SUPPORT, INVALID_ARG, OPERATION_INVALID, CONFIG_UNSUPPORTED, OPERATION_UNSUPPORTED."""
NO_METADATA_CODE: Final = 80
"""VIR_ERR_NO_DOMAIN_METADATA."""
KEEP_ALIVE_SECONDS: Final = 5
KEEP_ALIVE_MISSED: Final = 3
"""As the virsh manual suggests: a daemon silent for so many times so long is gone."""

_loop_started = threading.Event()
_loop_lock = threading.Lock()


def binding() -> Any:  # noqa: ANN401 - it ships no types
    """Return the binding; its errors are raised and no longer printed too.

    Raises:
        InputError: it is not installed.

    """
    try:
        import libvirt
    except ImportError as error:
        raise InputError(MISSING) from error
    libvirt.registerErrorHandler(_said_nothing, None)
    return libvirt


def start_events() -> None:
    """Run libvirt's own loop of events in a thread, once in a process; before a connection is opened."""
    with _loop_lock:
        if _loop_started.is_set():
            return
        libvirt = binding()
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_turn, args=(libvirt,), name="libvirt events", daemon=True).start()
        _loop_started.set()


def is_lost(error: Exception) -> bool:
    """Whether an error of libvirt means that the daemon is gone."""
    return code_of(error) in LOST_CODES


def code_of(error: Exception) -> int:
    """Return libvirt's number of an error; -1 for one that is not libvirt's."""
    code = getattr(error, "get_error_code", None)
    return -1 if code is None else int(code() or -1)


def _turn(libvirt: Any) -> None:  # noqa: ANN401
    while True:
        libvirt.virEventRunDefaultImpl()


def _said_nothing(_context: object, _error: object) -> None:
    """Take what libvirt would print."""
