"""`python -m benchmarks.training`: how fast training is, beside what else one could use.

    --row NAME     only this row; may be given several times (all of them)
    --runs N       everything so often (1)
    --folder PATH  where photos and runs are kept (a folder of the user's cache)
    --no-record    print the figures and do not write them down

Figures go to `benchmarks/results/training.json`; those of rows that were not run stay there. The machine should have
nothing else to do.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.control_plane.bars import table
from benchmarks.demo.surroundings import machine
from benchmarks.figures import record
from benchmarks.training.child import ROOT
from benchmarks.training.errors import BenchmarkError
from benchmarks.training.rows import ROWS, clean
from devcluster.places import here

RESULTS = ROOT / "benchmarks" / "results" / "training.json"
COMMAND = "make bench-training"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if it went through, whatever it found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--row", action="append", choices=list(ROWS))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=here().cache / "bench-training")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(arguments)
    try:
        for run in range(1, options.runs + 1):
            for name in options.row or ROWS:
                figures = ROWS[name](options.folder)
                print(f"\n{name}, run {run} of {options.runs}, {time.strftime('%H:%M:%S')}")
                print(table(figures), flush=True)
                if not options.no_record:
                    record(RESULTS, machine(), COMMAND, figures, keep_others=True)
    except BenchmarkError as error:
        print(f"\nThe benchmark stopped: {error}", file=sys.stderr)
        return 1
    finally:
        clean(options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
