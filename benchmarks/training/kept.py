"""The trainer, which says as its last line what its checkpoints have cost."""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from model_trainer import main
from model_trainer.checkpoints import Checkpoints
from model_trainer.keeping import Keeper

SAYS = "checkpoints"
_seconds = {"held": 0.0, "beside": 0.0}


def _counted(owner: type, name: str, clock: Callable[[], float], key: str) -> None:
    """Add up what the calls of a method take by a clock."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def counted(*arguments: Any) -> Any:
        began = clock()
        try:
            return function(*arguments)
        finally:
            _seconds[key] += clock() - began

    setattr(owner, name, counted)


if __name__ == "__main__":
    # Training waits for these,
    _counted(Keeper, "keep", time.monotonic, "held")
    _counted(Keeper, "keep_best", time.monotonic, "held")
    # and shares the processors with this.
    _counted(Checkpoints, "save", time.thread_time, "beside")
    code = main.main()
    print(json.dumps({"message": SAYS, **_seconds}))
    sys.exit(code)
