"""How many CPUs this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_V2 = Path("/sys/fs/cgroup/cpu.max")
_V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_cpus() -> int:
    """CPUs of the affinity mask, bounded by the container's CPU limit (cgroup v2 or v1), at least 1.

    TensorFlow sizes its thread pools by the affinity mask alone, so a container limited to half a CPU on a
    64-core node would start 64 threads and be throttled.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota()
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota() -> float | None:
    try:
        if _V2.exists():
            limit, period = _V2.read_text().split()
            return None if limit == "max" else int(limit) / int(period)
        if _V1_QUOTA.exists():
            limit_us = int(_V1_QUOTA.read_text())
            return None if limit_us <= 0 else limit_us / int(_V1_PERIOD.read_text())
    except (OSError, ValueError):
        return None
    return None
