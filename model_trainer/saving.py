"""Write the trained model in both of Keras's formats."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from model_trainer.run_folder import LEGACY_MODEL, MODEL

# Both files and Keras's temporary copy of the weights; and room for the descriptions of the layers.
COPIES = 3
OVERHEAD = 4 * 1024 * 1024


def save(model: Any, folder: Path, *, legacy: bool = True) -> tuple[Path, ...]:
    """Write model.keras and, as `legacy`, model.h5 to `folder` and return their paths.

    Space is looked at first, because the HDF5 library crashes the process when a disk fills up under an open file.

    Raises:
        OSError: ENOSPC.
    """
    # A network that was put around a trained one was never compiled, and has not even the attribute.
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    weights = sum(int(variable.value.dtype.size) * int(variable.value.shape.num_elements()) for variable in variables)
    if shutil.disk_usage(folder).free < COPIES * weights + OVERHEAD:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    paths = (folder / MODEL, folder / LEGACY_MODEL) if legacy else (folder / MODEL,)
    for path in paths:
        model.save(path)
    return paths
