"""What a connection may cost: sizes, counts and times, the same on both ends."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one message, either way."""
METADATA_BYTES_MAX: Final = 8 * 1024
"""Of all headers of a call; above twice as much the connection itself refuses."""
STREAMS_MAX: Final = 100
"""Calls at once over one connection."""
CALLS_MAX: Final = 1000
"""Calls at once of one server, over all connections."""
KEEPALIVE_MILLISECONDS: Final = 1000
"""How often an idle connection is asked whether it lives."""
KEEPALIVE_TIMEOUT_MILLISECONDS: Final = 5000
"""How long it may take to say so: what an agent waits before it counts its card as gone (design note 7)."""
HANDSHAKE_MILLISECONDS: Final = 5000
"""How long a connection may take to say who it is."""
RECONNECT_MIN_MILLISECONDS: Final = 200
RECONNECT_MAX_MILLISECONDS: Final = 5000
CALL_SECONDS: Final = 10.0
"""How long a call waits for its answer unless the caller says otherwise."""
TRANSFER_SECONDS: Final = 600.0
"""The same where the request is a stream, as of an application's state."""
STREAM_SECONDS: Final = 86_400.0
"""The same where the answer is a stream: who listens asks again each day, with certificates of that day."""
GRACE_SECONDS: Final = 5.0
"""How long calls may go on once a server is to end."""

Options = tuple[tuple[str, int], ...]
_OF_MESSAGES: Final = frozenset({"grpc.max_receive_message_length", "grpc.max_send_message_length"})

BOTH_ENDS: Final[Options] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLISECONDS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # keepalive goes on while nothing else is said
)
SERVER: Final[Options] = (
    *BOTH_ENDS,
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MILLISECONDS // 2),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MILLISECONDS),
    ("grpc.so_reuseport", 0),  # else a second server would take half of the calls in silence
)
CLIENT: Final[Options] = (
    *BOTH_ENDS,
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MILLISECONDS),
    ("grpc.min_reconnect_backoff_ms", RECONNECT_MIN_MILLISECONDS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MILLISECONDS),
    ("grpc.enable_http_proxy", 0),  # servers and cards are near, and no proxy's business
)


def with_messages(options: Options, bytes_max: int) -> Options:
    """Return options of a server or a client whose messages may have so many bytes."""
    return tuple((name, bytes_max if name in _OF_MESSAGES else value) for name, value in options)
