"""A scenario file says what it means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tidegate.model.byte_amounts import parse_bytes
from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.scenario import parse_scenario, read_scenario
from tidegate.sim.traces import installed
from tidegate.sim.traces.installed import installed_trace

EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples" / "scenarios").glob("*.toml"))

SERVER = '[[servers]]\nname = "s-{n}"\ncount = 2\ncores = 8\nmemory_bytes = "64GiB"\n'
WORKLOAD = '[[workloads]]\nname = "w"\ncores = 1\nmemory_bytes = "1GiB"\n'
CARD = '[[cards]]\nname = "c"\nserves = ["s-*"]\ncores = 4\nmemory_bytes = 0\nlink_bytes_per_second = "1GB"\n'


@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=lambda path: "default" if path is None else path.stem)
def test_every_scenario_we_ship_can_be_read(path):
    assert read_scenario(path).servers


def test_names_are_numbered_and_amounts_are_base_units():
    scenario = parse_scenario(SERVER + WORKLOAD + CARD, "x.toml")
    assert scenario.servers[0].names == ["s-1", "s-2"]
    assert scenario.workloads[0].sold[Resource.MEMORY] == 2**30
    assert scenario.cards[0].card_core_ratio == 0.5


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("256GiB", 256 * 2**30), ("3.5 GB", 3.5e9), ("25Gb", 25e9 / 8), ("1024", 1024), (7, 7), ("2K", 2000)],
)
def test_bytes_are_read_as_people_write_them(text, bytes_):
    assert parse_bytes(text) == bytes_


@pytest.mark.parametrize("text", ["", "GiB", "-1GB", "1 Gx", "1,5GB", "nan"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(InputError, match="no amount of bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds = 1\n" + SERVER + WORKLOAD, "unknown key 'seeds' in the top level"),
        (SERVER.replace("cores", "coers") + WORKLOAD, r"unknown key 'coers' in servers\[0\]"),
        (SERVER, "has no 'workloads'; add it"),
        (SERVER + WORKLOAD.replace("cores = 1\n", ""), r"workloads\[0\] has no 'cores'; add it"),
        (SERVER.replace("cores = 8", "cores = 0") + WORKLOAD, r"servers\[0\].cores: expected .* > 0"),
        (SERVER + WORKLOAD.replace("1GiB", "1Gi-B"), "workloads 'w': memory_bytes = '1Gi-B' is no amount"),
        (SERVER + WORKLOAD.replace('"1GiB"', "0"), "memory_bytes must be above 0"),
        (SERVER.replace("s-{n}", "s") + WORKLOAD, 'write name = "s-{n}"'),
        (SERVER + SERVER + WORKLOAD, "the name 's-1' stands twice"),
        (SERVER + WORKLOAD + "sla_violation_rate = 0.7\n", r"workloads\[0\].sla_violation_rate: expected"),
        (SERVER + WORKLOAD + CARD.replace('["s-*"]', "[]"), r"cards\[0\].serves: expected"),
        (SERVER + WORKLOAD + CARD.replace('"1GB"', "0"), "link_bytes_per_second must be above 0"),
        ("servers = [", "is no TOML"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_key(text, says):
    with pytest.raises(InputError, match=says) as raised:
        parse_scenario(text, "world.toml")
    assert "world.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read scenario .*gone\.toml"):
        read_scenario(tmp_path / "gone.toml")


def _sold(cores: float, vms: int) -> dict[Resource, np.ndarray]:
    return {Resource.CPU: np.full(vms, cores), Resource.MEMORY: np.full(vms, 2.0**34)}


def test_installed_demand_is_whole_real_and_within_what_was_sold():
    trace = installed_trace(_sold(4, 20), [str(vm) for vm in range(20)], seed=1)
    assert trace.used.shape == (2, 28 * 288, 20)
    assert not np.isnan(trace.used).any()
    assert (trace.used >= 0).all()
    assert (trace.used <= trace.capacity).all()
    peak_to_mean = trace.used[0].max(axis=0) / trace.used[0].mean(axis=0)
    assert np.median(peak_to_mean) > 1.7


def test_installed_demand_depends_on_the_seed_alone():
    first, again, other = (installed_trace(_sold(4, 5), list("abcde"), seed=seed) for seed in (1, 1, 2))
    assert first.used.tobytes() == again.used.tobytes()
    assert first.used.tobytes() != other.used.tobytes()


def test_a_vm_without_a_resource_has_no_samples_of_it_and_changes_nobody_else():
    sold = _sold(4, 3)
    with_gpu = installed_trace(sold | {Resource.GPU: np.array([0.0, 1.0, 0.0])}, list("abc"), seed=1)
    without = installed_trace(sold | {Resource.GPU: np.zeros(3)}, list("abc"), seed=1)
    assert without.resources == (Resource.CPU, Resource.MEMORY)
    gpu = with_gpu.used[with_gpu.resources.index(Resource.GPU)]
    assert np.isnan(gpu[:, [0, 2]]).all()
    assert not np.isnan(gpu[:, 1]).any()
    np.testing.assert_array_equal(with_gpu.used[:2], without.used)


def test_the_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'tidegate\[replay\]'"):
        installed_trace(_sold(1, 1), ["a"], seed=0)


@pytest.mark.parametrize("number", ["inf", "nan", "-inf", "9" * 400])
def test_a_number_without_end_is_named(number):
    text = (
        f'[[servers]]\nname = "s"\ncores = {number}\nmemory_bytes = "1GiB"\n'
        '[[workloads]]\nname = "w"\ncores = 1\nmemory_bytes = 1\n'
    )
    with pytest.raises(InputError, match=r"x\.toml: servers\[0\]\.cores is"):
        parse_scenario(text, "x.toml")
