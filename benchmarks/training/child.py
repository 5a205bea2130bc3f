"""One measurement in a process of its own: nothing that was imported or kept before counts, and its peak is its own."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.training.errors import BenchmarkError
from benchmarks.training.memory import watched

ROOT = Path(__file__).resolve().parents[2]


def measure(function: str, **arguments: Any) -> dict[str, Any]:
    """What `function` (`module:name`, below this package) returns for `arguments` in a new process, and its peak.

    Raises:
        BenchmarkError: it failed.
    """
    words = [sys.executable, "-m", "benchmarks.training.child", function, json.dumps(arguments, default=str)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    with (
        subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        watched(process.pid) as watch,
    ):
        output, errors = process.communicate()
    if process.returncode != 0:
        raise BenchmarkError(f"{function} ended with {process.returncode}:\n{errors[-3000:]}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found | {"peak MiB": watch.peak}


def main() -> None:
    """The child: call the function and print what it returns as the last line."""
    module, name = sys.argv[1].split(":")
    function = getattr(importlib.import_module(f"benchmarks.training.{module}"), name)
    found = function(**json.loads(sys.argv[2]))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
