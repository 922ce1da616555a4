"""Serves, or loads who serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict

from tidegate.examples.keyvalue.load import Found, Load, run
from tidegate.examples.keyvalue.service import serve


def main() -> int:
    """Do what the arguments say; 1 where a request or an acknowledged write was lost."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.examples.keyvalue", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    serving = kinds.add_parser("serve", help="answer PING, GET, SET and DEL")
    serving.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - a card's service
    serving.add_argument("--port", type=int, required=True)
    serving.add_argument("--work", type=float, default=0.0, help="CPU seconds that each request costs")
    loading = kinds.add_parser("load", help="use a service, follow it, and tell what came of it")
    loading.add_argument(
        "--at", required=True, action="append", help="HOST:PORT where it is at first; again for a further one"
    )
    loading.add_argument("--seconds", type=float, default=10.0)
    loading.add_argument("--clients", type=int, default=4)
    loading.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: as many as can be")
    loading.add_argument("--patience", type=float, default=30.0, help="seconds after which a request is lost")
    loading.add_argument(
        "--skip", type=float, default=0.0, help="seconds overdue after which one is not sent"
    )
    loading.add_argument("--mark", type=float, action="append", help="second at which a new part begins")
    loading.add_argument("--seed", type=int, help="ask at random moments drawn from it, not at even ones")
    given = parser.parse_args()
    if given.kind == "serve":
        asyncio.run(
            serve(
                given.host,
                given.port,
                work_seconds=given.work,
                control=os.environ.get("TIDEGATE_CONTROL"),
                standby=os.environ.get("TIDEGATE_STANDBY") == "1",
            )
        )
        return 0
    loads = [
        Load(
            at=at,
            seconds=given.seconds,
            clients=given.clients,
            requests_per_second=given.rate,
            patience_seconds=given.patience,
            skip_seconds=given.skip,
            marks=tuple(given.mark or ()),
            seed=None if given.seed is None else given.seed * len(given.at) + number,
        )
        for number, at in enumerate(given.at)
    ]
    found = asyncio.run(_all(loads))
    sys.stdout.writelines(json.dumps(asdict(one)) + "\n" for one in found)
    return 1 if any(one.lost or one.acknowledged_writes_missing for one in found) else 0


async def _all(loads: list[Load]) -> list[Found]:
    return await asyncio.gather(*(run(load) for load in loads))


if __name__ == "__main__":
    sys.exit(main())
