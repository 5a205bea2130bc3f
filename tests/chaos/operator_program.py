"""An operator of any tree, as a program with that tree's own code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.chaos.operator_replica import flags_of, free_port, metrics_at
from tests.chaos.world import World


class Program:
    """One operator.

    Args:
        tree: whose `operator/` it runs, with the packages of this environment.
        world: where its way to the API server is made.
        namespace: the one that it serves.
        templates: for `--templates`.
    """

    def __init__(self, tree: Path, world: World, namespace: str, templates: Path) -> None:
        self._world = world
        self._port = free_port()
        proxy = world.proxy(f"operator-of-{tree.name}")
        words = flags_of(proxy, world.folder, namespace, templates, self._port)
        self._log = (world.folder / f"{tree.name}.log").open("ab")
        # A path in the environment comes before the one that the installed package has put among the site's.
        environment = {**os.environ, "PYTHONPATH": str(tree / "operator")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "keras_operator.main", *words], cwd=tree, env=environment, stderr=self._log
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def end(self, number: int) -> None:
        """Send a signal, and wait until it has ended well."""
        self._process.send_signal(number)
        assert self._process.wait(60) == 0

    def wait_at_rest(self, reconciles: int) -> None:
        """Return once it has looked at so many models and has nothing more to do."""

        def at_rest() -> bool:
            looked, waiting = metrics_at(self._port)
            return looked >= reconciles and not waiting

        self._world.until(at_rest, "an operator at rest", 240)
