"""The folders of a pod in which a team's own image trains, as the Job mounts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model_trainer.failure import BadRun

MODEL = "model.keras"
RESULT = "result.json"
DESCRIPTION = "description.json"
IMAGES = "images.npy"
LABELS = "labels.npy"
ROWS = "{part}.csv"
# Of ours alone.
PREPARED = "prepared.json"
TEST_IMAGES = "test.npy"
SAMPLES = "samples.npz"
CELLS = "cells.npz"


@dataclass(frozen=True)
class Folders:
    """What the team's container reads (`data`), what it leaves (`output`), and what it does not see (`prepared`)."""

    data: Path
    output: Path
    prepared: Path

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Folders:
        """As the environment says. Raises BadRun where it does not."""
        names = ("KERAS_DATA", "KERAS_OUTPUT", "KERAS_PREPARED")
        if missing := [name for name in names if not environment.get(name)]:
            raise BadRun(
                f"The environment variable {missing[0]} is not set; a training by an image of the team's own has "
                "three folders."
            )
        return cls(*(Path(environment[name]) for name in names))
