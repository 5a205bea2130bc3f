"""Living a whole world, and telling how to see again what was wrong in it."""

from __future__ import annotations

import asyncio
import logging

from tests.simulation.simulated_loop import SimulatedLoop
from tests.simulation.world import World

CHAOS_STEPS = 2_500


class FoundError(AssertionError):
    """A seed with which something is wrong; the message tells how to see it again."""


def simulate(seed: int, chaos_steps: int = CHAOS_STEPS) -> World:
    """Live a whole world.

    Args:
        seed: from which everything follows.
        chaos_steps: for how many steps things go wrong.

    Returns:
        It, at its end.

    Raises:
        FoundError: an invariant did not hold.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    world: World | None = None
    try:
        world = World(loop, seed, chaos_steps)
        loop.run_until_complete(world.live())
    except Exception as error:
        story = "\n".join(world.trace if world else [])
        steps = world.steps if world else 0
        raise FoundError(
            f"{story}\nseed {seed}, step {steps}: {error}\n"
            f"to see it again: make simulation SEED={seed} STEPS={chaos_steps}"
        ) from error
    finally:
        logging.disable(before)
        _end(loop)
    return world


def _end(loop: SimulatedLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    asyncio.set_event_loop(None)
    loop.close()
