"""`python -m benchmarks.control_plane`: measure the operator with many models on a control plane of its own.

    --models N        with so many models; may be given several times (500), 0 for none
    --lifecycles N    so many whole life cycles, train to serve; 0 for none (500)
    --runs N          everything so often, each time on a new cluster (1)
    --samples N       changes to single models while all are at rest (100)
    --keep            leave the cluster of the last run as it is
    --no-record       print the figures and do not write them down

Figures go to `benchmarks/results/control_plane.json`; those of other numbers of models stay there. The machine should
have nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.control_plane import bars, cluster, lifecycles, scale
from benchmarks.control_plane.errors import BenchmarkError
from benchmarks.demo.errors import DemoError
from benchmarks.demo.surroundings import machine
from benchmarks.figures import Measured, record

RESULTS = cluster.ROOT / "benchmarks" / "results" / "control_plane.json"
COMMAND = "make bench-control-plane"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if it went through, whatever it found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.control_plane",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", type=int, action="append", default=None)
    parser.add_argument("--lifecycles", type=int, default=500)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(arguments)
    counts = [count for count in options.models or [500] if count]
    folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
    try:
        for run in range(1, options.runs + 1):
            for count in counts:
                figures = _with_models(folder, count, options.samples)
                _tell(f"run {run} of {options.runs}", figures, recorded=not options.no_record)
            if options.lifecycles:
                figures = _with_lifecycles(folder, options.lifecycles)
                _tell(f"run {run} of {options.runs}", figures, recorded=not options.no_record)
    except (BenchmarkError, DemoError) as error:
        print(f"\nThe benchmark stopped: {error}\nThe operator's log is in {folder}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe benchmark was interrupted.", file=sys.stderr)
        return 130
    finally:
        if not options.keep:
            cluster.stop()
    shutil.rmtree(folder)
    return 0


def _with_models(folder: Path, count: int, samples: int) -> list[Measured]:
    found = asyncio.run(scale.measure(cluster.start(folder), folder, count, samples))
    for name, number in sorted(found.requests.items()):
        print(f"  {number / count:7.3f} a model  {name}")
    for name, number in sorted((found.at_rest + found.restart_writes).items()):
        print(f"  {number} at rest: {name}")
    return bars.of_scale(found)


def _with_lifecycles(folder: Path, count: int) -> list[Measured]:
    lived = asyncio.run(lifecycles.measure(cluster.start(folder), folder, count))
    for name, number in sorted(lived.requests.items()):
        print(f"  {number / count:7.3f} a life   {name}")
    return bars.of_lifecycles(lived)


def _tell(which: str, figures: Sequence[Measured], *, recorded: bool) -> None:
    print(f"\n{which}, {time.strftime('%H:%M:%S')}")
    print(bars.table(figures), flush=True)
    if recorded:
        record(RESULTS, machine(), COMMAND, figures, keep_others=True)


if __name__ == "__main__":
    sys.exit(main())
