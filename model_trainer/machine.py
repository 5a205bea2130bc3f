"""What this container may use: processors and memory as its cgroup limits them, not as the node has them."""

from __future__ import annotations

import math
import os
from pathlib import Path

from model_trainer.failure import NoGpu

CGROUP = Path("/sys/fs/cgroup")


def processors(cgroup: Path = CGROUP) -> int:
    """Whole processors that TensorFlow's thread pools are sized for: affinity and CFS quota, at least 1.

    TensorFlow counts the node's processors; with a quota of 2 on a node of 64, 64 threads spend their time throttled.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def memory_bytes(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of memory that this container can have in all: the cgroup's limit, or what the node has available."""
    available = 1024 * next(
        int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")
    )
    limits = [_number(cgroup / "memory.max"), _number(cgroup / "memory" / "memory.limit_in_bytes")]
    return min([available, *(limit for limit in limits if limit is not None)])


def configure_tensorflow() -> None:
    """Size TensorFlow's thread pools; must run before its first operation."""
    import tensorflow as tf  # noqa: PLC0415 - a second of import that only the stages need

    threads = processors()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # Two, so that the input pipeline goes on beside a training step; more only compete for the same processors.
    tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
    for gpu in tf.config.list_physical_devices("GPU"):
        # TensorFlow takes the whole memory of a GPU otherwise, which others may share.
        tf.config.experimental.set_memory_growth(gpu, True)


def check_gpus(wanted: int) -> None:
    """See that TensorFlow has the GPUs that a training was given.

    Without them it would hold them for hours, and learn on the processor.

    Raises:
        NoGpu: it has fewer; the message says whether the image or the node is why.
    """
    import tensorflow as tf  # noqa: PLC0415 - as above

    found = len(tf.config.list_physical_devices("GPU"))
    if found >= wanted:
        return
    why = (
        f"the container has {wanted}, and the driver of its node does not fit: the log of this pod says more"
        if tf.test.is_built_with_cuda()
        else "the trainer's image is the one for processors: have the operator run with --trainer-gpu-image "
        "(docs/gpus.md), or train in a container of your own"
    )
    raise NoGpu(
        f"spec.training asks for {wanted} GPU{'s' * (wanted > 1)} and TensorFlow finds {found}; {why}; or remove "
        "gpusPerWorker to learn on processors."
    )


def _quota(cgroup: Path) -> float | None:
    """Processors that the CFS quota allows, or None without a quota (cgroup v2, then v1)."""
    unified = cgroup / "cpu.max"
    if unified.is_file():
        quota, period = unified.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    for controller in ("cpu", "cpu,cpuacct"):
        limit = _number(cgroup / controller / "cpu.cfs_quota_us")
        period_us = _number(cgroup / controller / "cpu.cfs_period_us")
        if limit is not None and period_us is not None and limit > 0:
            return limit / period_us
    return None


def _number(path: Path) -> int | None:
    """The integer in a cgroup file; None where the file is not there or says "max"."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
