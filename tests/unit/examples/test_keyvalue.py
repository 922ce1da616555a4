"""The example application and its load, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys

import pytest

from tidegate.examples.keyvalue import contract
from tidegate.examples.keyvalue.load import Addresses, Client, Load, run
from tidegate.examples.keyvalue.service import LATENCIES_MAX, WAITING_MAX, Connection, Store, _answer_all

STATE = json.dumps({"a": "1"}).encode()
PATIENCE_SECONDS = 20.0


async def stores(count):
    """Make stores, those after the first on standby."""
    return [Store(standby=at > 0, work_seconds=0.0) for at in range(count)]


@contextlib.asynccontextmanager
async def served(store):
    """Serve a store on a free port; give HOST:PORT."""
    waiting, open_ones = asyncio.Queue(), set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(waiting, open_ones), "127.0.0.1", 0)
    answering = asyncio.create_task(_answer_all(store, waiting))
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        answering.cancel()
        for connection in list(open_ones):
            connection.transport.abort()


async def asked(at, *requests):
    host, _, port = at.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("".join(f"{request}\n" for request in requests).encode())
    lines = [
        (await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)).decode().rstrip() for _ in requests
    ]
    writer.close()
    return lines


def test_it_answers():
    async def body():
        (store,) = await stores(1)
        async with served(store) as at:
            requests = ["PING", "GET a", "SET a b c", "GET a", "DEL a", "DEL a", "what", "SET"]
            said = await asked(at, *requests)
            many = await asked(at, *["PING"] * (4 * WAITING_MAX))
        assert said[:6] == ["PONG", "NONE", "OK", "VALUE b c", "OK", "NONE"]
        assert all(line.startswith("ERROR") for line in said[6:])
        assert many == ["PONG"] * (4 * WAITING_MAX)
        assert store.stats()["requests"] == len(requests) + len(many) < LATENCIES_MAX
        assert store.stats()["latency_p99_seconds"] > 0

    asyncio.run(body())


def test_who_serves_keeps_what_it_has_when_it_is_given_a_state_twice():
    async def body():
        (store,) = await stores(1)
        store.answer("SET a 2")
        store.take(STATE)
        assert store.answer("GET a") == "VALUE 2"
        store.release(["there:1"])
        assert store.answer("SET a 3") == "MOVED there:1"
        store.take(STATE)
        assert store.answer("GET a") == "VALUE 1"
        with pytest.raises(ValueError, match="one JSON object"):
            store.take(b"[]")

    asyncio.run(body())


def test_a_state_that_nobody_took_whole_is_served_on(tmp_path):
    async def body():
        (store,) = await stores(1)
        store.answer(f"SET a {'x' * 5_000_000}")
        server = await contract.listen(str(tmp_path / "c"), store)
        for bytes_taken in (0, 20, 1000):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c"))
            writer.write(b'{"call": "export", "moved_to": ["there:1"]}\n')
            await reader.readexactly(bytes_taken)
            writer.transport.abort()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while store.answer("PING") != "PONG":  # noqa: ASYNC110 - a store has no event for it
                    await asyncio.sleep(0.01)
        server.close()

    asyncio.run(body())


def test_half_a_state_is_forgotten(tmp_path):
    async def body():
        _, store = await stores(2)
        server = await contract.listen(str(tmp_path / "c"), store)
        for text in (b'{"call": "import", "state_bytes": 99}\n{}', b"nonsense\n", b'{"call": "export"}\n'):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c"))
            writer.write(text)
            writer.write_eof()
            assert b'"ok": true' not in await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
            writer.close()
        assert not store.ready.is_set()
        server.close()

    asyncio.run(body())


def test_clients_follow_and_lose_nothing():
    async def body():
        old, new = await stores(2)
        async with served(old) as there, served(new) as here:
            load = Load(at=there, seconds=0.8, clients=3, requests_per_second=300)
            using = asyncio.create_task(run(load))
            await asyncio.sleep(0.3)
            state = old.release([here])
            await asyncio.sleep(0.1)  # some wait at the new one already
            new.take(state)
            found = await using
        assert (found.lost, found.acknowledged_writes_missing, found.wrong_reads) == (0, 0, 0)
        assert found.redirects >= 1
        assert found.requests > 100
        assert found.latency_max_seconds > 0.05

    asyncio.run(body())


def test_a_client_is_sent_round_in_a_circle_until_somebody_serves():
    """As where a service let go and the one it went to is still being loaded: nothing is lost by that."""

    async def body():
        old, new = await stores(2)
        new.take(old.release(["nowhere"]))
        async with served(old) as there, served(new) as here:
            old.release([here])
            new.release([there])
            client = Client(Addresses(there), PATIENCE_SECONDS)
            asking = asyncio.create_task(client.ask("SET a 1"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while client.redirects < 40:  # noqa: ASYNC110 - nobody sets an event
                    await asyncio.sleep(0.01)
            new.resume()
            assert await asking == "OK"
            await client.close()

    asyncio.run(body())


def test_what_is_lost_is_told():
    async def body():
        with socket.create_server(("127.0.0.1", 0)) as free:
            nowhere = f"127.0.0.1:{free.getsockname()[1]}"
        found = await run(Load(at=nowhere, seconds=0.1, clients=1, patience_seconds=0.2))
        assert found.lost == found.requests > 0
        (store,) = await stores(1)
        async with served(store) as at:
            using = asyncio.create_task(run(Load(at=at, seconds=0.5, clients=1, requests_per_second=200)))
            await asyncio.sleep(0.3)
            store._values.clear()  # as a move that loses what was acknowledged
            found = await using
        assert found.acknowledged_writes_missing + found.wrong_reads > 0

    asyncio.run(body())


def test_a_client_gives_up_on_what_is_overdue_and_counts_it_as_late():
    async def body():
        store = Store(standby=False, work_seconds=0.02)
        async with served(store) as at:
            load = Load(
                at=at, seconds=1.0, clients=1, requests_per_second=200.0, skip_seconds=0.1, marks=(0.5, 9.0)
            )
            return await run(load)

    found = asyncio.run(body())
    assert found.requests == 201
    assert found.skipped > 100
    assert found.lost == 0
    first, second, nothing = found.latency_p99_between
    assert 0.1 < second < 0.5
    assert 0.1 < first < 0.5
    assert nothing == 0.0


def test_a_client_that_asked_nothing_during_a_move_is_told_before_the_service_ends():
    def free_port():
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            return found.getsockname()[1]

    async def body():
        port = free_port()
        (new,) = await stores(1)
        async with served(new) as there:
            old = await asyncio.create_subprocess_exec(
                sys.executable, "-c", MOVED_SERVICE, str(port), there, env=os.environ | {"PYTHONPATH": PATH}
            )
            client = Client(Addresses(f"127.0.0.1:{port}"), PATIENCE_SECONDS)
            assert await client.ask("PING") == "PONG"
            old.terminate()  # it hands over and ends before anybody asks again
            assert await asyncio.wait_for(old.wait(), PATIENCE_SECONDS) == 0
            assert await client.ask("SET a 1") == "OK"
            assert await asked(there, "GET a") == ["VALUE 1"]
            assert client.redirects == 1
            await client.close()

    asyncio.run(body())


PATH = os.pathsep.join(sys.path)
MOVED_SERVICE = """
import asyncio, sys
from tidegate.examples.keyvalue import service

class Moved(service.Store):
    farewell = f"MOVED {sys.argv[2]}"

    def answer(self, request):
        return "PONG"

service.Store = Moved
asyncio.run(service.serve("127.0.0.1", int(sys.argv[1])))
"""
