"""Where cgroups are mounted, on version 1, version 2, and machines between them."""

from __future__ import annotations

from tidegate.drivers.cgroups.hierarchy import Hierarchy, Mount, find_hierarchy


def mounted(tmp_path, lines, controllers=None):
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True)
    (proc / "mounts").write_text("\n".join(lines) + "\n")
    if controllers is not None:
        folder, names = controllers
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "cgroup.controllers").write_text(names)
    return find_hierarchy(tmp_path)


def test_version_1_has_a_mount_for_each_controller(tmp_path):
    found = mounted(
        tmp_path,
        [
            "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0",
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0",
            "cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0",
        ],
    )
    both = Mount(folder=f"{tmp_path}/sys/fs/cgroup/cpu,cpuacct", version=1)
    assert found.cpu == found.usage == both
    assert found.memory == Mount(folder=f"{tmp_path}/sys/fs/cgroup/memory", version=1)
    assert found.disk is None
    assert found.pressure is None


def test_version_2_has_one_mount_for_all(tmp_path):
    found = mounted(
        tmp_path, ["cgroup2 /sys/fs/cgroup cgroup2 rw 0 0"], ("sys/fs/cgroup", "cpuset cpu io memory\n")
    )
    mount = Mount(folder=f"{tmp_path}/sys/fs/cgroup", version=2)
    assert found == Hierarchy(cpu=mount, usage=mount, memory=mount, disk=mount, pressure=mount)


def test_a_version_2_tree_without_controllers_gives_pressure_beside_version_1(tmp_path):
    found = mounted(
        tmp_path,
        [
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0",
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
        ],
        ("sys/fs/cgroup/unified", "\n"),
    )
    assert found.cpu == Mount(folder=f"{tmp_path}/sys/fs/cgroup/cpu", version=1)
    assert found.pressure == Mount(folder=f"{tmp_path}/sys/fs/cgroup/unified", version=2)
    assert found.memory is None
    assert found.measures


def test_a_space_in_a_mount_point_is_read_as_a_space(tmp_path):
    found = mounted(tmp_path, ["cgroup /my\\040groups/cpu cgroup rw,cpu 0 0"])
    assert found.cpu == Mount(folder=f"{tmp_path}/my groups/cpu", version=1)


def test_a_list_of_mounts_longer_than_a_page_is_read_to_its_end(tmp_path):
    others = [f"overlay /var/lib/containers/{number} overlay rw 0 0" for number in range(10_000)]
    assert mounted(tmp_path, [*others, "cgroup /cpu cgroup rw,cpu 0 0"]).cpu is not None


def test_without_cgroups_there_are_none(tmp_path):
    assert find_hierarchy(tmp_path) == Hierarchy()
    assert mounted(tmp_path, ["tmpfs /sys/fs/cgroup tmpfs rw 0 0", "short line"]) == Hierarchy()
