"""Makes a network link on this machine, as slow and lossy as a test wants it; Linux, root.

```python
with EmulatedLink(LinkShape(delay_seconds=0.005, loss_ratio=0.01)) as link:
    serve_in(link.namespaces[0], link.addresses[0])
    ask_from(link.namespaces[1], link.addresses[0])
    link.change(LinkShape(delay_seconds=0.050))
```

Two network namespaces, joined through TUN devices by a process that holds packets back: it needs no netem,
which many kernels lack. A link shaped to 100 Mbit/s is about what it can carry.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tidegate.drivers.namespaces.inside import Inside
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE_SECONDS: Final = 10.0
"""The relay answers, or ends, within it."""
TUNSETIFF: Final = 0x400454CA
IFF_TUN_NO_PI: Final = 0x1001
"""Both of linux/if_tun.h."""
DEVICE: Final = "link0"
OWN_NETWORK: Final = 7
"""Of a link with namespaces of its own, in 10.213.0.0/16."""
SHARED_NETWORKS: Final = 200
"""Those after it, for links that share namespaces."""
NUMBERS: Final = count()
RELAY: Final = Path(__file__).with_name("link_relay.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkShape:
    """How one way of a link is."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """Up to so much more, drawn for each packet; none overtakes another."""
    loss_ratio: float = 0.0
    bytes_per_second: float | None = None
    """With the headers of IP; None: as fast as it goes."""
    queue_seconds: float = 0.1
    """What would wait longer for the rate is dropped."""

    def __post_init__(self) -> None:
        """Refuse what no link can be.

        Raises:
            InputError: a time is negative, a ratio is none, or a rate is not positive.

        """
        times = (self.delay_seconds, self.jitter_seconds, self.queue_seconds)
        rate_is_wrong = self.bytes_per_second is not None and not self.bytes_per_second > 0
        if not all(time >= 0 for time in times) or not 0 <= self.loss_ratio <= 1 or rate_is_wrong:
            raise InputError(
                "a link's delay, jitter and queue are 0 s or more, its loss 0 to 1, its rate above 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOneWay:
    """What one way of a link has carried so far."""

    packets: int
    bytes: int
    lost: int
    """By chance, as its shape wants."""
    dropped: int
    """For want of room."""


class EmulatedLink:
    """Two namespaces and the link between them, there while the context lasts."""

    def __init__(
        self,
        shape: LinkShape,
        back: LinkShape | None = None,
        *,
        seed: int = 0,
        between: tuple[str, str] | None = None,
    ) -> None:
        """Shape the way from the first namespace to the second, and the way ``back`` where that differs.

        ``between`` names two namespaces that are there already, and may have more links; without it two are
        made for this one.
        """
        number = next(NUMBERS)
        self._shapes = shape, back or shape
        self._seed = seed
        self._stack = ExitStack()
        self._relay: subprocess.Popen[bytes] | None = None
        self._makes_namespaces = between is None
        self.namespaces = between or (f"tg{os.getpid()}-{number}a", f"tg{os.getpid()}-{number}b")
        """Their names, as ip-netns(8) and Tidegate's drivers want them."""
        network = OWN_NETWORK if between is None else OWN_NETWORK + 1 + number % SHARED_NETWORKS
        self.addresses = (f"10.213.{network}.1", f"10.213.{network}.2")
        """The same on every link that has namespaces of its own."""
        self.device = DEVICE if between is None else f"{DEVICE}-{number}"
        """What it is called at both ends."""

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            TidegateError: this is not Linux, not root, or has no ip(8) or TUN.

        """
        with ExitStack() as made:
            for name in self.namespaces if self._makes_namespaces else ():
                _ip("netns", "add", name)
                made.callback(_ip, "netns", "del", name)
            ends = []
            for name, here, there in zip(
                self.namespaces, self.addresses, reversed(self.addresses), strict=True
            ):
                with Inside(name) as inside:
                    ends.append(inside.do(partial(_tun, self.device)))
                made.callback(os.close, ends[-1])
                _ip("-n", name, "addr", "add", here, "peer", there, "dev", self.device)
                _ip("-n", name, "link", "set", self.device, "up")
                _ip("-n", name, "link", "set", "lo", "up")
            self._relay = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", str(RELAY), *map(str, ends), str(self._seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=ends,
            )
            made.callback(self._end_relay, self._relay)
            self.change(*self._shapes)
            self._stack = made.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def change(self, shape: LinkShape, back: LinkShape | None = None) -> None:
        """Give the link another shape; packets under way keep theirs.

        Raises:
            TidegateError: the link is not there.

        """
        self._ask([asdict(shape), asdict(back or shape)])

    def carried(self) -> tuple[CarriedOneWay, CarriedOneWay]:
        """Return what has been carried from the first namespace to the second, and back.

        Raises:
            TidegateError: the link is not there.

        """
        there, back = self._ask([{}, {}])
        return CarriedOneWay(**there), CarriedOneWay(**back)

    def _ask(self, order: list[dict[str, float | None]]) -> list[dict[str, int]]:
        relay = self._relay
        if relay is None or relay.stdin is None or relay.stdout is None or relay.poll() is not None:
            raise TidegateError("the emulated link is not there; use it as a context manager")
        relay.stdin.write(json.dumps(order).encode() + b"\n")
        relay.stdin.flush()
        if not select.select([relay.stdout], [], [], PATIENCE_SECONDS)[0]:
            raise TidegateError(f"the emulated link has not answered within {PATIENCE_SECONDS} s")
        return json.loads(relay.stdout.readline() or b"[]")

    @staticmethod
    def _end_relay(relay: subprocess.Popen[bytes]) -> None:
        try:
            relay.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            relay.kill()
            relay.communicate()


def _tun(device: str) -> int:
    """Make the device in the namespace of this thread and return its descriptor; closed, it is gone."""
    import fcntl

    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN_NO_PI))
    return end


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - names of ours
            ["ip", *words],  # noqa: S607 - wherever iproute2 is
            capture_output=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise TidegateError("a link needs ip(8); install iproute2, and run as root") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise TidegateError(f"'ip {' '.join(words)}' failed: {said}; emulated links need Linux and root")
