"""Rates of a card's network, in a namespace of its own: of the card as a whole, and of each application.

What an application sends is told by the TCP ports it serves on, which every kernel with htb and u32 can. So
told apart and limited is what is sent from those ports, on every interface but the loopback. Not limited is
what is received: who sends it decides. What an application sends from other ports, as a client of others,
shares what is left with all who have no class.

    root 1: htb --+-- 1:1 the card's rate --+-- 1:2 whoever has no class
                                            +-- 1:16 ... one for each application with ports and a rate
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from tidegate.drivers.card.launch import enter_namespace
from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAMESPACES: Final = Path("/var/run/netns")
"""Where ip-netns(8) keeps those with a name."""
ROOT: Final = 0x10000
CARD: Final = ROOT + 1
REST: Final = ROOT + 2
CLASSES: Final = range(16, 4096)
"""Of applications."""
UNLIMITED_BYTES_PER_SECOND: Final = 125_000_000_000
"""1 Tbit/s: where the card has no rate."""
GUARANTEED: Final = 64
"""Classes are promised this part of their rate and borrow the rest: so promises don't add up to more than the
card has, unless it is sold so many times over, and where all want more they get it in proportion."""
RATE_BYTES_PER_SECOND_MIN: Final = 1000
"""Below it not a packet a second would get out."""
TCP: Final = "0x06/0xff"
PROTOCOLS: Final = ((socket.AF_INET, 0x0800, 9, 20), (socket.AF_INET6, 0x86DD, 6, 40))
"""Family, protocol, and the offsets of the transport's name and source port, without options between."""


class Network:
    """The rates of one namespace."""

    def __init__(self, namespace: str, *, bytes_per_second: int | None = None) -> None:
        """Limit what leaves a namespace, as a whole too where ``bytes_per_second`` says so.

        Raises:
            InputError: there is no such namespace, or pyroute2 is not installed.
            TidegateError: the kernel refuses.

        """
        self.file = NAMESPACES / namespace
        self._namespace = namespace
        self._bytes_per_second = bytes_per_second or UNLIMITED_BYTES_PER_SECOND
        if importlib.util.find_spec("pyroute2") is None:
            raise InputError(
                "rates of a card's network need pyroute2; install it with: pip install 'tidegate[card]'"
            )
        if not self.file.exists():
            raise InputError(
                f"there is no network namespace '{namespace}'; make it with 'ip netns add {namespace}'"
            )
        # A thread can be in another namespace than its process: nothing need be forked.
        self._inside = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="tidegate-card-network",
            initializer=enter_namespace,
            initargs=(str(self.file),),
        )
        try:
            self.prepare()
        except TidegateError:
            self.close()
            raise

    def close(self) -> None:
        """Leave the namespace; the rates stay."""
        self._inside.shutdown()

    def prepare(self) -> None:
        """Give every interface that has no classes yet the card's.

        Raises:
            TidegateError: the kernel refuses.

        """
        self._each(self._prepare)

    def limit(self, number: int, ports: Iterable[int], bytes_per_second: int) -> None:
        """Set the rate of an application's class, and have what its ports send go through it.

        Raises:
            TidegateError: the kernel refuses.

        """
        rate = max(bytes_per_second, RATE_BYTES_PER_SECOND_MIN)

        def limit(kernel: Any, interface: int) -> None:  # noqa: ANN401 - pyroute2's
            self._prepare(kernel, interface)
            is_new = ROOT + number not in _classes(kernel, interface)
            _set_class(kernel, interface, ROOT + number, parent=CARD, rate=_promised(rate), most=rate)
            if is_new:
                _set_filters(kernel, interface, number, ports)

        self._each(limit)

    def drop(self, number: int) -> None:
        """Remove an application's class; nothing where there is none."""

        def drop(kernel: Any, interface: int) -> None:  # noqa: ANN401 - pyroute2's
            for family, protocol, _, _ in PROTOCOLS:
                order = _priority(number, family)
                with contextlib.suppress(_kernel_refused()):
                    kernel.tc("del-filter", index=interface, parent=ROOT, prio=order, protocol=protocol)
            with contextlib.suppress(_kernel_refused()):
                kernel.tc("del-class", index=interface, handle=ROOT + number)

        self._each(drop)

    def read(self) -> dict[int, tuple[int, int]]:
        """Return rate, and bytes sent since it has it, of every application's class.

        Raises:
            TidegateError: the kernel refuses.

        """
        found: dict[int, tuple[int, int]] = {}

        def read(kernel: Any, interface: int) -> None:  # noqa: ANN401 - pyroute2's
            for handle, (rate, sent) in _classes(kernel, interface).items():
                if handle - ROOT in CLASSES:
                    before = found.get(handle - ROOT, (0, 0))
                    found[handle - ROOT] = max(before[0], rate), before[1] + sent

        self._each(read)
        return found

    def _each(self, act: Callable[[Any, int], None]) -> None:
        """Do something on every interface of the namespace but the loopback."""

        def act_inside() -> None:
            from pyroute2 import IPRoute

            with IPRoute() as kernel:
                links = list(kernel.get_links())
                for link in links:
                    if link.get_attr("IFLA_IFNAME") != "lo":
                        act(kernel, link["index"])

        try:
            self._inside.submit(act_inside).result()
        except (BrokenExecutor, OSError, _kernel_refused()) as error:
            raise TidegateError(
                f"the rates of network namespace '{self._namespace}' can't be set or read: {error}"
            ) from error

    def _prepare(self, kernel: Any, interface: int) -> None:  # noqa: ANN401 - as above
        kinds = [
            queue.get_attr("TCA_KIND")
            for queue in kernel.get_qdiscs(index=interface)
            if queue["handle"] == ROOT
        ]
        if kinds != ["htb"]:
            kernel.tc("add", "htb", interface, ROOT, default=REST - ROOT)
        rate = self._bytes_per_second
        _set_class(kernel, interface, CARD, parent=ROOT, rate=rate, most=rate)
        _set_class(kernel, interface, REST, parent=CARD, rate=_promised(rate), most=rate)


def _kernel_refused() -> type[Exception]:
    from pyroute2.netlink.exceptions import NetlinkError

    return cast("type[Exception]", NetlinkError)


def _promised(rate: int) -> int:
    return max(rate // GUARANTEED, RATE_BYTES_PER_SECOND_MIN // GUARANTEED)


def _priority(number: int, family: int) -> int:
    """Return the filters' order, one of its own for each class and family: so they can be removed alone."""
    return 2 * number + (family == socket.AF_INET6)


def _set_class(kernel: Any, interface: int, handle: int, *, parent: int, rate: int, most: int) -> None:  # noqa: ANN401
    """Make a class or change it; a quantum of its own keeps the kernel from warning of large rates."""
    known = handle in _classes(kernel, interface)
    kernel.tc(
        "change-class" if known else "add-class",
        "htb",
        interface,
        handle,
        parent=parent,
        rate=rate,
        ceil=most,
        quantum=min(max(rate // 10, 1514), 60_000),
        burst=max(most // 250, 3200),
        cburst=max(most // 250, 3200),
    )


def _set_filters(kernel: Any, interface: int, number: int, ports: Iterable[int]) -> None:  # noqa: ANN401
    for port in ports:
        for family, protocol, transport, source in PROTOCOLS:
            kernel.tc(
                "add-filter",
                "u32",
                interface,
                parent=ROOT,
                prio=_priority(number, family),
                protocol=protocol,
                target=ROOT + number,
                keys=[f"{TCP}+{transport}", f"{port:#06x}/0xffff+{source}"],
            )


def _classes(kernel: Any, interface: int) -> dict[int, tuple[int, int]]:  # noqa: ANN401
    """Return most bytes a second, and bytes sent, of every class by its handle."""
    found = {}
    for each in kernel.get_classes(index=interface):
        options = each.get_attr("TCA_OPTIONS")
        parameters = options.get_attr("TCA_HTB_PARMS") if options else None  # codespell:ignore parms
        if parameters is None:
            continue
        wide = options.get_attr("TCA_HTB_CEIL64")
        statistics = each.get_attr("TCA_STATS")
        found[each["handle"]] = int(wide or parameters["ceil"]), int(statistics["bytes"] if statistics else 0)
    return found
