"""`python -m tests.simulation`: live worlds until so many steps are done, and tell the seed of the first that fails."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.run import CHAOS_STEPS, FoundError, simulate


def main() -> int:
    """Simulate; 0 where every world was well, 1 where one was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first world; the next one has the next")
    parser.add_argument("--steps", type=int, default=1_000_000, help="in which things go wrong, in all worlds together")
    chosen = parser.parse_args()
    started, steps, seed = time.perf_counter(), 0, chosen.seed
    while steps < chosen.steps:
        chaos = min(CHAOS_STEPS, chosen.steps - steps)
        try:
            world = simulate(seed, chaos)
        except FoundError as found:
            print(found, file=sys.stderr)
            return 1
        steps += world.steps
        print(f"seed {seed}: {world.steps} steps, {steps} in all, {time.perf_counter() - started:.0f} s", flush=True)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
