"""The variables of a network and its optimizer as a file, one after the other: memory for the largest of them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_store import Corrupt

Groups = Mapping[str, Sequence[Any]]


def network(model: Any) -> Groups:
    """The network's own variables: weights, moving averages, and the state of its random generators."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return {"network": [variable for variable in model.variables if id(variable) not in metrics]}


def training_state(model: Any) -> Groups:
    """Everything that a step changes; the optimizer must be built. The metrics are those of the epoch so far."""
    return {**network(model), "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}


def write(path: Path, groups: Groups) -> None:
    """Write the values as an .npz file, with names such as `network/0`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, variable in _named(groups):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(variable), allow_pickle=False)


def read(path: Path, groups: Groups) -> None:
    """Put the values of a file into the variables. Raises Corrupt, before any is changed, where they do not fit."""
    with np.load(path, allow_pickle=False) as values:
        wanted = dict(_named(groups))
        found = {name for name in values.files if name.partition("/")[0] in groups}
        if other := sorted(set(wanted) ^ found):
            raise Corrupt(f"{path.name} {'has no' if other[0] in wanted else 'also has'} {other[0]}")
        for name, variable in wanted.items():
            shape = _shape(path, values, name)
            if shape != tuple(variable.shape):
                raise Corrupt(f"{path.name} has {name} in the shape {shape}, and it must be {tuple(variable.shape)}")
        for name, variable in wanted.items():
            variable.assign(values[name])


def _named(groups: Groups) -> Iterator[tuple[str, Any]]:
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            yield f"{group}/{index}", variable


def _shape(path: Path, values: Any, name: str) -> tuple[int, ...]:
    with values.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return tuple(header(file)[0])
