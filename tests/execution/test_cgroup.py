"""Quotas of control groups, from the files that kernels and container engines show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dash_hpc.execution import threads
from dash_hpc.execution.cgroup import quota_cores
from dash_hpc.execution.machine import binding

V2_MOUNT = "31 23 0:27 {inside} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "32 31 0:29 {inside} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
OTHERS = (
    "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
)


def machine(root: Path, own: str, mounts: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    (root / "proc/self/mountinfo").write_text(OTHERS + mounts)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1), ("100001 100000", 2), ("350000 100000", 4),
     ("25000 50000", 1), ("1000 1000000", 1)],
)  # fmt: skip
def test_version_2(tmp_path: Path, quota: str, cores: int | None) -> None:
    """A systemd machine: quota and period in one file, rounded up to whole cores."""
    own = "0::/user.slice/user-1000.slice/session-4.scope\n"
    files = {"user.slice/user-1000.slice/session-4.scope/cpu.max": f"{quota}\n"}
    assert quota_cores(machine(tmp_path, own, V2_MOUNT.format(inside="/"), files)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("50000", 1), ("150000", 2), ("400000", 4)])
def test_version_1(tmp_path: Path, quota: str, cores: int | None) -> None:
    own = "12:cpuset:/\n4:cpu,cpuacct:/slurm/uid_0/job_7/step_0\n0::/\n"
    job = "cpu,cpuacct/slurm/uid_0/job_7/step_0"
    files = {f"{job}/cpu.cfs_quota_us": quota, f"{job}/cpu.cfs_period_us": "100000\n"}
    assert quota_cores(machine(tmp_path, own, V1_MOUNT.format(inside="/"), files)) == cores


def test_smallest_limit_up_the_tree_counts(tmp_path: Path) -> None:
    """Kubernetes: the pod has 2 cores, its container no limit of its own, and a task in it a larger one."""
    own = "0::/kubepods.slice/pod1.slice/c1/task\n"
    files = {
        "kubepods.slice/cpu.max": "6400000 100000\n",
        "kubepods.slice/pod1.slice/cpu.max": "200000 100000\n",
        "kubepods.slice/pod1.slice/c1/cpu.max": "max 100000\n",
        "kubepods.slice/pod1.slice/c1/task/cpu.max": "400000 100000\n",
        "other.slice/cpu.max": "50000 100000\n",
    }
    assert quota_cores(machine(tmp_path, own, V2_MOUNT.format(inside="/"), files)) == 2


def test_container_that_sees_only_its_own_part(tmp_path: Path) -> None:
    """Docker without a namespace of cgroups: the path is the host's, the mount shows the container's group as top."""
    own = "4:cpu,cpuacct:/docker/0a1b/job\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/job/cpu.cfs_quota_us": "-1", "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
    }  # fmt: skip
    assert quota_cores(machine(tmp_path, own, V1_MOUNT.format(inside="/docker/0a1b"), files)) == 3


@pytest.mark.parametrize("own", ["0::/\n", "0::/../../elsewhere\n", "0::/not/mounted/here\n"])
def test_container_with_a_namespace(tmp_path: Path, own: str) -> None:
    """The own group is the top of what is mounted, or lies outside of it."""
    files = {"cpu.max": "150000 100000\n"}
    assert quota_cores(machine(tmp_path, own, V2_MOUNT.format(inside="/"), files)) == 2


def test_both_versions_at_once(tmp_path: Path) -> None:
    """A hybrid machine: the cpu controller is in version 1, and version 2 is mounted beside it without quotas."""
    own = "4:cpu,cpuacct:/a b\n0::/user\n"
    mounts = V1_MOUNT.format(inside="/") + V2_MOUNT.format(inside="/").replace(
        " /sys/fs/cgroup ", " /sys/fs/uni\\040f "
    )
    files = {"cpu,cpuacct/a b/cpu.cfs_quota_us": "50000", "cpu,cpuacct/a b/cpu.cfs_period_us": "100000"}
    root = machine(tmp_path, own, mounts, files)
    assert quota_cores(root) == 1
    unified = root / "sys/fs/uni f/user"
    unified.mkdir(parents=True)
    (unified / "cpu.max").write_text("nonsense\n")
    assert quota_cores(root) == 1


@pytest.mark.parametrize("text", ["", "nonsense", "0", "x:y", "1:cpu", "0::"])
def test_machine_without_readable_groups_has_no_quota(tmp_path: Path, text: str) -> None:
    assert quota_cores(tmp_path) is None
    machine(tmp_path, text, text, {"cpu.max": "x"})
    assert quota_cores(tmp_path) is None


def test_quota_counts_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for quota, cores in ((None, 8), (3, 3), (16, 8)):
        monkeypatch.setattr(threads, "quota_cores", lambda quota=quota: quota)
        monkeypatch.setattr(binding, "quota_cores", lambda quota=quota: quota)
        assert threads.available_cores() == cores
        assert binding.here(0, {}).granted == cores
        assert binding.here(0, {"SLURM_CPUS_ON_NODE": "2"}).granted == 2
    monkeypatch.setattr(binding, "quota_cores", lambda: 4)
    ranks = [binding.here(k, {}) for k in range(2)]
    # Which four of the eight is not said, so that no rank is bound to some of them.
    assert [(b.threads, b.bound_by) for b in binding.bindings(ranks)] == [(2, "nobody")] * 2


def test_quota_of_this_machine(tmp_path: Path) -> None:
    """A real group, where one may be made."""
    for top, quota in (("/sys/fs/cgroup/cpu", {"cpu.cfs_quota_us": "50000"}), ("/sys/fs/cgroup", {"cpu.max": "50000"})):
        group = Path(top) / f"dash-hpc-test-{os.getpid()}"
        if top.endswith("cgroup") and not Path(top, "cgroup.controllers").exists():
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, text in quota.items():
                (group / name).write_text(text)
            code = "from dash_hpc.execution.threads import available_cores; print(available_cores())"
            words = ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh", sys.executable, "-c", code]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            assert done.stdout.strip() == "1"
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("no control group may be made here")
