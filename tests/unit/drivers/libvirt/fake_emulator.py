"""A program that speaks QMP as QEMU does, and has no VM: `fake_emulator.py BEHAVIOUR -qmp unix:PATH,...`.

Its memory "goes over" by a step with each `query-migrate`. Source and target meet in a file beside the
channel: once the source has sent all, the target runs. Behaviours: ``good``; ``fails`` after two steps;
``stalls`` after one; ``endless`` never converges; ``no-post-copy``; ``deaf`` ends by a signal only;
``dies`` after a step, as a target that is killed.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

MIB = 2**20
STEPS = 4
VERSION = {"qemu": {"major": 10, "minor": 0, "micro": 0}, "package": ""}


class Emulator:
    """What is asked of it, and what it answers."""

    def __init__(self, behaviour, *, is_target):
        self.behaviour, self.is_target = behaviour, is_target
        self.channel, self.status, self.steps, self.is_over = None, "none", 0, False
        self.runs = not is_target

    def answer(self, command, arguments):
        known = {
            "qmp_capabilities": dict,
            "query-kvm": lambda: {"enabled": False, "present": True},
            "calc-dirty-rate": dict,
            "query-dirty-rate": lambda: {"status": "measured", "dirty-rate": 7, "calc-time": 1},
            "query-memory-size-summary": lambda: {"base-memory": 64 * MIB, "plugged-memory": 0},
            "migrate-set-parameters": dict,
            "cont": self.go_on,
            "query-status": self.query_status,
            "query-migrate": self.query_migrate,
            "migrate_cancel": self.cancel,
            "migrate-start-postcopy": self.post_copy,
            "quit": self.end,
        }
        if command == "migrate-set-capabilities":
            return self.set_capabilities(arguments)
        if command in {"migrate", "migrate-incoming"}:
            return self.begin(command, arguments["uri"].removeprefix("unix:"))
        if command not in known:
            raise ValueError(f"The command {command} has not been found")
        return known[command]()

    def set_capabilities(self, arguments):
        wanted = {one["capability"] for one in arguments["capabilities"] if one["state"]}
        if "postcopy-ram" in wanted and self.behaviour == "no-post-copy":
            raise ValueError("Postcopy is not supported: Userfaultfd not available")
        return {}

    def begin(self, command, channel):
        self.channel = Path(channel)
        if command == "migrate":
            self.status = "setup"
        return {}

    def done(self):
        return self.channel.with_suffix(".done")

    def go_on(self):
        self.runs = True
        return {}

    def query_status(self):
        if self.is_target and not self.runs:
            self.runs = self.channel is not None and self.done().exists()
            return {"status": "running" if self.runs else "inmigrate", "running": self.runs}
        word = "running" if self.runs else "postmigrate"
        return {"status": word, "running": self.runs}

    def query_migrate(self):
        if self.status == "none":
            return {}
        if self.status in {"setup", "active", "postcopy-active"}:
            self.step()
        sent = min(self.steps, 1 if self.behaviour == "stalls" else STEPS) * 16 * MIB
        ram = {"transferred": sent, "remaining": 64 * MIB - sent, "total": 64 * MIB, "page-size": 4096}
        ram |= {"dirty-sync-count": self.steps, "dirty-pages-rate": 100}
        told = {"status": self.status, "total-time": 100 * self.steps, "ram": ram}
        if self.status == "completed":
            told["downtime"] = 12
        if self.status == "failed":
            told["error-desc"] = "Unable to write to socket: Broken pipe"
        return told

    def step(self):
        self.steps += 1
        self.status = "active" if self.status == "setup" else self.status
        if self.behaviour == "fails" and self.steps > 2:
            self.status = "failed"
        ends = self.behaviour in {"good", "deaf"} or self.status == "postcopy-active"
        if ends and self.steps >= STEPS:
            self.status, self.runs = "completed", False
            self.done().touch()

    def cancel(self):
        self.status = "cancelled"
        return {}

    def post_copy(self):
        if self.status != "active":
            raise ValueError("Start post-copy when a migration is active")
        self.status = "postcopy-active"
        return {}

    def end(self):
        self.is_over = self.behaviour != "deaf"
        return {}


def serve(path, emulator, *, alone):
    if alone and os.fork():  # as QEMU does, but that its parent waits until it listens
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)
    if alone:
        os.setsid()
        for number in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    while not emulator.is_over:
        peer, _ = listener.accept()
        with peer, peer.makefile("rw", encoding="utf-8") as lines:
            say(lines, {"QMP": {"version": VERSION, "capabilities": ["oob"]}})
            for line in lines:
                asked = json.loads(line)
                # As QEMU does, an event may come between a command and its answer.
                say(lines, {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}})
                try:
                    said = {"return": emulator.answer(asked["execute"], asked.get("arguments", {}))}
                except ValueError as error:
                    said = {"error": {"class": "GenericError", "desc": str(error)}}
                say(lines, {"id": asked["id"], **said})
                if emulator.is_over:
                    return
                if emulator.behaviour == "dies" and asked["execute"] == "migrate-incoming":
                    os._exit(1)


def say(lines, said):
    lines.write(json.dumps(said) + "\r\n")
    lines.flush()


def main(behaviour, *words):
    if behaviour == "broken":
        sys.exit("fake: cannot set up guest memory 'pc.ram': Cannot allocate memory")
    path = words[words.index("-qmp") + 1].removeprefix("unix:").partition(",")[0]
    serve(path, Emulator(behaviour, is_target="-incoming" in words), alone="-daemonize" in words)


if __name__ == "__main__":
    main(*sys.argv[1:])
