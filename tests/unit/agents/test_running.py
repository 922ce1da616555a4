"""A program ends when it is asked to, and cleans up first."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from tidegate.agents.running import run

PROGRAM = textwrap.dedent(
    """
    import asyncio, sys
    from tidegate.agents.running import run
    from tidegate.cli.main import INTERRUPTED, EXIT_INTERRUPTED

    async def main():
        try:
            print("up", flush=True)
            await asyncio.sleep(60)
            return 3
        finally:
            await asyncio.sleep(0.05)
            print("clean", flush=True)

    try:
        sys.exit(run(main))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    """
)


def test_the_exit_code_is_the_program_s_own():
    async def main():
        return 3

    assert run(main) == 3


def test_what_fails_is_not_swallowed():
    async def main():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(main)


def test_the_end_of_standard_input_ends_it_where_that_was_asked_for():
    program = PROGRAM.replace("run(main)", "run(main, until_eof=True)")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "up\n"
            child.stdin.write("nothing that ends it\n")
            child.stdin.flush()
            assert child.poll() is None
            child.stdin.close()
            assert child.stdout.read() == "clean\n"
            assert child.wait(10) == 0
        finally:
            child.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_after_it_cleaned_up(number, code):
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "up\n"
            child.send_signal(number)
            assert child.stdout.read() == "clean\n"
            assert child.wait(10) == code
        finally:
            child.kill()


def test_an_input_that_can_t_be_waited_for_is_refused_in_a_sentence(tmp_path):
    program = PROGRAM.replace("run(main)", "run(main, until_eof=True)")
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert "InputError: --until-eof is for" in done.stderr
