"""`python -m benchmarks.mutation`: the share of mutants of `plan` that its unit tests kill.

Writes `benchmarks/results/mutation.json` and prints every mutant that survived as a diff. mutmut runs on a copy of the
sources and tests under `build/mutation`, in the `src` layout that it knows, so the working tree stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.demo.surroundings import machine
from benchmarks.figures import Measured, record

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = ROOT / "build" / "mutation"
RESULTS = ROOT / "benchmarks" / "results" / "mutation.json"
COMMAND = "make mutation"
BAR = 85

# Docstrings and type hints are left alone by mutmut; everything else of a function counts, the words people read too.
_CONFIGURATION = """\
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/keras_operator/plan/*"]
pytest_add_cli_args_test_selection = ["tests/unit/plan"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
use_git_change_detection = false

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
"""


def main() -> int:
    """Run, print and record; 0 where the bar is held, 1 where it is not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("mutants", nargs="*", help="only these mutants, as names or patterns; nothing is recorded then")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, help="processes at once")
    chosen = parser.parse_args()
    _prepare()
    _mutmut("run", "--max-children", str(chosen.children), *chosen.mutants)
    survivors = _survivors()
    for name in survivors:
        _mutmut("show", name)
    if chosen.mutants:
        return 0
    _mutmut("export-cicd-stats")
    counts: dict[str, int] = json.loads((WORKSPACE / "mutants" / "mutmut-cicd-stats.json").read_text())
    # A mutant that no test can end in its time was noticed as well as one that fails a test.
    noticed, total = counts["killed"] + counts["timeout"], counts["total"]
    share = 100 * noticed / total
    name = "mutants of plan killed"
    results = record(RESULTS, machine(), COMMAND, [Measured(name, share, "%", f">= {BAR}")])
    print(f"{name}: {noticed} of {total}, {share:.1f} % (bar: {BAR} %); written to {RESULTS.relative_to(ROOT)}")
    return 0 if results.figures[0].holds else 1


def _prepare() -> None:
    """Copy sources and tests afresh: results of an earlier run say nothing about what is there now."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "operator" / "keras_operator", WORKSPACE / "src" / "keras_operator", ignore=leave_out)
    shutil.copytree(ROOT / "tests" / "unit" / "plan", WORKSPACE / "tests" / "unit" / "plan", ignore=leave_out)
    (WORKSPACE / "pyproject.toml").write_text(_CONFIGURATION)


def _mutmut(*arguments: str) -> None:
    command = [sys.executable, "-m", "mutmut", *arguments]
    subprocess.run(command, cwd=WORKSPACE, check=True)


def _survivors() -> list[str]:
    """Names of the mutants that no test noticed."""
    command = [sys.executable, "-m", "mutmut", "results"]
    listed = subprocess.run(command, cwd=WORKSPACE, check=True, capture_output=True, text=True).stdout
    rows = (line.strip().partition(": ") for line in listed.splitlines() if ": " in line)
    return [name for name, _, status in rows if status in ("survived", "no tests", "suspicious")]


if __name__ == "__main__":
    sys.exit(main())
