from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.model.errors import InputError
from tidegate.model.resources import Resource
from tidegate.sim.traces import import_prometheus, load_trace, write_trace

CPU = "libvirt_domain_info_cpu_time_seconds_total"
VCPUS = "libvirt_domain_info_virtual_cpus"
READ = "libvirt_domain_block_stats_read_bytes_total"
START = 1_767_225_600


def series(name, values, *, domain="web", instance="kvm1:9177", start=START, step=60, **labels):
    metric = {"__name__": name, "domain": domain, "instance": instance, "job": "libvirt"} | labels
    samples = [[start + step * at, str(value)] for at, value in enumerate(values) if value is not None]
    return {"metric": metric, "values": samples}


def answer(*result, kind="matrix"):
    return {"status": "success", "data": {"resultType": kind, "result": list(result)}, "warnings": []}


def save(folder, name="a.json", **content):
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_counters_become_rates_and_gauges_stay(tmp_path):
    save(tmp_path, **answer(series(CPU, [100, 130, 190]), series(VCPUS, [4, 4, 4])))
    rows = import_prometheus(tmp_path)
    assert rows["cpu_cores_used"].to_list() == [None, 0.5, 1.0]
    assert rows["cpu_cores_capacity"].to_list() == [4.0] * 3
    assert rows["vm"].unique().to_list() == ["web"]
    assert rows["server"].unique().to_list() == ["kvm1:9177"]
    assert rows["time"].dt.epoch("s").to_list() == [START, START + 60, START + 120]


def test_a_counter_that_drops_was_reset(tmp_path):
    save(tmp_path, **answer(series(CPU, [100, 130, 6, 36]), series(VCPUS, [1] * 4)))
    assert import_prometheus(tmp_path)["cpu_cores_used"].to_list() == [None, 0.5, 0.1, 0.5]


def test_nan_and_holes_are_missing_and_no_rate_spans_an_outage(tmp_path):
    values = [0, 60, "NaN", 180, 240, None, None, None, 900, 960]
    save(tmp_path, **answer(series(CPU, values), series(VCPUS, [1] * 10)))
    used = import_prometheus(tmp_path)["cpu_cores_used"].to_list()
    assert used == [None, 1.0, None, 1.0, 1.0, None, None, None, None, 1.0]


def test_devices_are_summed_and_old_names_are_known(tmp_path):
    save(
        tmp_path,
        **answer(
            series(READ, [0, 600], target_device="vda"),
            series(READ, [0, 1200], target_device="vdb"),
            series("libvirt_domain_block_stats_write_bytes", [0, 60], target_device="vda"),
            series("libvirt_domain_interface_receive_bytes_total", [0, 120], target_device="vnet0"),
            series("libvirt_domain_interface_stats_transmit_bytes_total", [0, 180], target_device="vnet0"),
            series("libvirt_domain_memory_stats_major_fault_total", [0, 30]),
            series("libvirt_domain_info_state", [1, 1]),
        ),
    )
    last = import_prometheus(tmp_path).row(-1, named=True)
    assert last["disk_read_bytes_per_second"] == 30.0
    assert last["disk_write_bytes_per_second"] == 1.0
    assert last["network_receive_bytes_per_second"] == 2.0
    assert last["network_transmit_bytes_per_second"] == 3.0
    assert last["memory_faults_per_second"] == 0.5
    assert "cpu_cores_used" not in last


def test_the_same_series_from_two_jobs_counts_once(tmp_path):
    save(tmp_path, **answer(series(CPU, [0, 60]), series(CPU, [0, 60], job="again"), series(VCPUS, [2, 2])))
    assert import_prometheus(tmp_path)["cpu_cores_used"].to_list() == [None, 1.0]


def test_memory_is_what_the_guest_says_where_it_says_so(tmp_path):
    stats = "libvirt_domain_memory_stats_"
    maximum = "libvirt_domain_info_maximum_memory_bytes"
    balloon = "libvirt_domain_info_memory_usage_bytes"
    result = [series(maximum, [1000], domain=vm) for vm in ("guest", "free", "old", "percent", "rss", "bare")]
    result += [series(balloon, [999], domain=vm) for vm in ("guest", "free", "old", "percent", "rss", "bare")]
    result += [series(stats + "available_bytes", [900], domain=vm) for vm in ("guest", "free", "percent")]
    result += [
        series(stats + "usable_bytes", [500], domain="guest"),
        series(stats + "unused_bytes", [300], domain="guest"),
        series(stats + "unused_bytes", [300], domain="free"),
        series(stats + "available", [1], domain="old"),
        series(stats + "usable", [0.5], domain="old"),
        series(stats + "used_percent", [50], domain="percent"),
        series(stats + "rss_bytes", [777], domain="rss"),
    ]
    save(tmp_path, **answer(*result))
    rows = import_prometheus(tmp_path)
    assert dict(zip(rows["vm"], rows["memory_bytes_used"], strict=True)) == {
        "guest": 400.0, "free": 600.0, "old": 512.0, "percent": 450.0, "rss": 777.0, "bare": 999.0,
    }  # fmt: skip


def test_files_continue_each_other_and_load(tmp_path):
    (tmp_path / "in").mkdir()
    save(tmp_path / "in", "1.json", **answer(series(CPU, [0, 60, 90]), series(VCPUS, [2] * 3)))
    later = {"start": START + 120}
    both = [answer(series(CPU, [90, 120, 150], **later)), answer(series(VCPUS, [2] * 3, **later))]
    (tmp_path / "in/2.json").write_text(json.dumps(both))
    out = tmp_path / "x.parquet"
    write_trace(import_prometheus(tmp_path / "in"), out)
    trace = load_trace([out], resources=(Resource.CPU,))
    np.testing.assert_array_equal(trace.used[0, :, 0], np.float32([np.nan, 1.0, 0.5, 0.5, 0.5]))
    assert trace.servers == ("kvm1:9177",)


def test_a_live_migration_is_one_vm_and_two_vms_of_a_name_are_refused(tmp_path):
    here = series(VCPUS, [2] * 10), series(CPU, range(0, 600, 60))
    there = {"instance": "kvm2:9177", "start": START + 60 * 9}
    moved = series(VCPUS, [2] * 10, **there), series(CPU, range(0, 600, 60), **there)
    save(tmp_path, **answer(*here, *moved))
    rows = import_prometheus(tmp_path)
    assert rows.height == 19
    assert rows["server"].unique(maintain_order=True).to_list() == ["kvm1:9177", "kvm2:9177"]
    save(tmp_path, **answer(*here, series(VCPUS, [2] * 10, instance="kvm2:9177")))
    with pytest.raises(InputError, match="'web' runs on kvm1:9177 and kvm2:9177 at the same time"):
        import_prometheus(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (answer(series("up", [1])), "no metric of a libvirt exporter"),
        (answer(series(CPU, [1, 2])), f"export {VCPUS} as well"),
        (answer(series("", [1])), "without __name__"),
        (answer(series(CPU, [1], domain="")), "without the label domain"),
        (answer(series(CPU, ["1", "+Inf"])), "is '\\+Inf' at 1767225660, not a finite number"),
        (answer(series(CPU, ["high"])), "is 'high'"),
        (
            answer({"metric": {}, "value": [1, "2"]}, kind="vector"),
            "a vector, the answer to an instant query",
        ),
        (
            {"status": "error", "errorType": "bad_data", "error": "too many points"},
            "bad_data: too many points",
        ),
        (answer({"metric": {}, "values": [[1, 2.0]]}), "is no answer of /api/v1/query_range"),
        ({"nothing": 1}, "is no answer of /api/v1/query_range"),
    ],
)
def test_what_is_no_such_answer_is_refused(tmp_path, content, said):
    path = save(tmp_path, **content)
    with pytest.raises(InputError, match=said) as error:
        import_prometheus(path)
    assert str(tmp_path) in str(error.value)


def test_broken_json_is_refused_with_its_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"status": "success",\n "data": oops}')
    with pytest.raises(InputError, match=r"a\.json, line 2 is no answer"):
        import_prometheus(path)
