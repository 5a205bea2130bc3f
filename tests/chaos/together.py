"""Scenarios that run at the same time: most of each is waiting, for a timeout or for a controller's next look."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.chaos.world import World

Scenario = Callable[[World], None]


def together(scenario: Scenario) -> Callable[..., None]:
    """A test of a scenario. All those that were selected in its module begin when the first one is asked for."""

    @functools.wraps(scenario)
    def test(crowd: Crowd, request: pytest.FixtureRequest) -> None:
        crowd.result(request.node.name)

    test.scenario = scenario  # type: ignore[attr-defined]
    # pytest asks the innermost function for the fixtures it wants.
    del test.__wrapped__
    return test


class Crowd:
    """The scenarios of one module.

    Args:
        items: the tests that were selected.
        make_world: makes what a scenario works with, by the scenario's name.
    """

    def __init__(self, items: list[pytest.Item], make_world: Callable[[str], World]) -> None:
        scenarios = {
            item.name: item.obj.scenario
            for item in items
            if isinstance(item, pytest.Function) and hasattr(item.obj, "scenario")
        }
        self._pool = ThreadPoolExecutor(max_workers=len(scenarios) or 1)
        self._futures: dict[str, Future[Any]] = {
            name: self._pool.submit(_run, scenario, make_world(name)) for name, scenario in scenarios.items()
        }

    def result(self, name: str) -> None:
        """Wait for a scenario's end. Raises what it raised."""
        self._futures[name].result()

    def end(self) -> None:
        """Wait for all of them."""
        self._pool.shutdown(cancel_futures=True)


def _run(scenario: Scenario, world: World) -> None:
    with world.exits:
        try:
            scenario(world)
        except AssertionError as failed:
            logs = [f"{log.name}:\n{log.read_text()[-4000:]}" for log in sorted(world.folder.glob("*.log"))]
            raise AssertionError("\n".join((str(failed), *logs))) from failed
