import os
import re
import tomllib
from pathlib import Path

import pytest

from model_trainer import machine
from model_trainer.failure import NoGpu


def tree(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu__cpu.cfs_quota_us": "50000", "cpu__cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu,cpuacct__cpu.cfs_quota_us": "300000", "cpu,cpuacct__cpu.cfs_period_us": "100000"}, 3.0),
        ({"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
    ids=["v2", "v2 without limit", "v1", "v1 with both controllers", "v1 without limit", "no cgroup"],
)
def test_processors_are_those_of_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: float | None
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    expected = {1.5: 2, 0.5: 1, 3.0: 3, None: 64}[quota]
    assert machine.processors(tree(tmp_path, **files)) == expected


def test_affinity_counts_where_it_is_less_than_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert machine.processors(tree(tmp_path, **{"cpu.max": "800000 100000"})) == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000000"}, 1_000_000),
        ({"memory.max": "max"}, 8_192_000),
        ({"memory__memory.limit_in_bytes": "2000000"}, 2_000_000),
        ({"memory__memory.limit_in_bytes": "9223372036854771712"}, 8_192_000),
        ({}, 8_192_000),
    ],
    ids=["v2", "v2 without limit", "v1", "v1 without limit", "no cgroup"],
)
def test_memory_is_the_limit_or_what_is_available(tmp_path: Path, files: dict[str, str], expected: int):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 16000 kB\nMemAvailable: 8000 kB\n")
    assert machine.memory_bytes(tree(tmp_path / "cgroup", **files), meminfo) == expected


def test_gpus_that_are_not_there_are_said_with_what_to_do():
    machine.check_gpus(0)
    with pytest.raises(NoGpu, match=r"asks for 2 GPUs and TensorFlow finds 0; .* --trainer-gpu-image .*gpusPerWorker"):
        machine.check_gpus(2)


def test_the_build_for_gpus_is_of_the_lock_s_version():
    root = Path(__file__).resolve().parents[3]
    (gpu,) = re.findall(r"^tensorflow==(\S+)", (root / "gpu-requirements.txt").read_text(), re.MULTILINE)
    packages = tomllib.loads((root / "uv.lock").read_text())["package"]
    assert [one["version"] for one in packages if one["name"] == "tensorflow-cpu"] == [gpu]
