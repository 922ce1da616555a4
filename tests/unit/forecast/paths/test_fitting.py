"""Many fits: in order, whatever fails, here or on workers; and Ctrl-C leaves nobody behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from tidegate.forecast.paths import fitting
from tidegate.forecast.paths.fitting import Workforce, fit_all, required
from tidegate.model.errors import InputError


def half(job):
    """Fit only what is even."""
    if job % 2:
        raise ValueError("odd")
    return job // 2


def needs_more(job):
    raise ModuleNotFoundError("No module named 'more'", name="more")


def test_few_are_fitted_here_in_order_and_those_that_fail_are_none():
    heard = []
    workforce = Workforce(progress=lambda done, whole: heard.append((done, whole)))
    assert fit_all(half, [4, 3, 8], workforce) == [2, None, 4]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert fit_all(half, [], workforce) == []
    assert set(fit_all(lambda _: os.getpid(), [1, 2], Workforce(processes=2))) == {os.getpid()}


def test_what_every_fit_lacks_is_said_not_counted():
    with pytest.raises(ModuleNotFoundError, match="more"):
        fit_all(needs_more, [1], Workforce())
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        required("not_there")


def test_workers_give_the_same_in_order_with_one_thread_each(monkeypatch):
    monkeypatch.setattr(fitting, "FEW", 4)
    monkeypatch.setattr(fitting, "CHUNK", 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    heard = []
    workforce = Workforce(processes=2, progress=lambda done, whole: heard.append((done, whole)))
    jobs = [4.0, -1.0, 9.0] * 6  # of which a square root is taken, or not
    assert fit_all(math.sqrt, jobs, workforce) == [2.0, None, 3.0] * 6
    assert heard == sorted(heard)
    assert heard[-1] == (18, 18)
    assert set(fit_all(os.getenv, ["OMP_NUM_THREADS"] * 6, workforce)) == {"1"}


def test_an_engine_nobody_knows_is_refused():
    with pytest.raises(InputError, match="'cloud'"):
        Workforce(engine="cloud")
    with pytest.raises(InputError, match="processes is 0"):
        Workforce(processes=0)


def test_ray_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="extra 'ray'"):
        fit_all(half, [2], Workforce(engine="ray"))


def test_ctrl_c_ends_the_workers_too(tmp_path):
    script = tmp_path / "fits.py"
    script.write_text(
        textwrap.dedent("""
        import os
        import signal
        import time
        from tidegate.forecast.paths import fitting

        def slow(job):
            os.write(1, b"started\\n")  # in one piece: where print is not buffered, two workers mix
            time.sleep(60)

        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
            fitting.FEW = 1
            try:
                fitting.fit_all(slow, list(range(64)), fitting.Workforce(processes=2))
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert out.endswith("interrupted\n")
    assert process.returncode == 0
    assert workers
    assert psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same():
    ray = pytest.importorskip("ray")
    try:
        assert fit_all(half, list(range(20)), Workforce(engine="ray", processes=1)) == fit_all(
            half, list(range(20)), Workforce()
        )
    finally:
        ray.shutdown()
