"""`python -m benchmarks.serving`: how fast, how soon and how small the runtime is, beside others and the limit.

    --row NAME             only this row; may be given several times (all of them)
    --runs N               everything so often (1)
    --seconds N            how long clients ask each server (8)
    --swaps N              how many hot swaps (1000)
    --overload-seconds N   how long there is too much to do (300)
    --folder PATH          where networks are kept for another call (a folder that is removed)
    --no-record            print the figures and do not write them down

Servers run on processor 0; their clients, and this program, on processor 1. The other servers are installed into the
cache on the first call. Figures go to `benchmarks/results/serving.json`; those of rows that were not run stay there.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.control_plane.bars import table
from benchmarks.demo.surroundings import machine
from benchmarks.figures import Measured, record
from benchmarks.serving import against_the_limit, beside_others, cold_start, over_time
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.installed import install_all
from benchmarks.serving.load import PINS
from benchmarks.serving.processes import stay_on_the_clients_core
from devcluster.build import build_all
from devcluster.errors import DevclusterError
from devcluster.places import here

RESULTS = Path(__file__).parent.parent / "results" / "serving.json"
COMMAND = "make bench-serving"
_Row = Callable[[Path, argparse.Namespace], list[Measured]]
_ROWS: dict[str, _Row] = {
    "tensor": lambda folder, options: against_the_limit.tensor(folder, options.seconds),
    "picture": lambda folder, options: against_the_limit.picture(folder, options.seconds),
    "json": lambda folder, options: against_the_limit.parsing(folder, options.seconds),
    "batching": lambda folder, options: against_the_limit.batching(folder, options.seconds),
    "cold-start": lambda folder, _: cold_start.cold_start(folder),
    "swaps": lambda folder, options: over_time.swaps(folder, options.swaps),
    "overload": lambda folder, options: over_time.overload_pictures(folder, options.overload_seconds, options.seconds),
    "overload-small": lambda folder, options: over_time.overload_small(
        folder, options.overload_seconds, options.seconds
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 if it went through, whatever it found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*beside_others.ROWS, *_ROWS]
    parser.add_argument("--row", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--overload-seconds", type=float, default=300.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args(arguments)
    if options.swaps <= over_time.FEW_SWAPS:
        parser.error(f"--swaps must be more than the {over_time.FEW_SWAPS} that they are held against")
    # So that servers are ended where the benchmark is told to end, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        build_all(here(), PINS)
        if not options.row or set(options.row) & set(beside_others.ROWS):
            install_all()
        stay_on_the_clients_core()
        with tempfile.TemporaryDirectory(prefix="bench-serving-") as temporary:
            folder = (options.folder or Path(temporary)).resolve()
            for run in range(1, options.runs + 1):
                _run(folder, options, f"run {run} of {options.runs}")
    except (BenchmarkError, DevclusterError) as error:
        print(f"\nThe benchmark stopped: {error}", file=sys.stderr)
        return 1
    return 0


def _run(folder: Path, options: argparse.Namespace, run: str) -> None:
    wanted = set(options.row or [*beside_others.ROWS, *_ROWS])
    beside = wanted & set(beside_others.ROWS)
    if beside:
        _show(" ".join(sorted(beside)), run, beside_others.measure(beside, folder, options.seconds), options)
    for name, row in _ROWS.items():
        if name in wanted:
            _show(name, run, row(folder, options), options)


def _show(row: str, run: str, figures: Sequence[Measured], options: argparse.Namespace) -> None:
    print(f"\n{row}, {run}, {time.strftime('%H:%M:%S')}")
    print(table(figures), flush=True)
    if not options.no_record:
        record(RESULTS, machine(), COMMAND, figures, keep_others=True)


if __name__ == "__main__":
    sys.exit(main())
