"""Weights to start from: those of a file or of an earlier version, fitted into a network that was built anew.

A file's weights are a list of arrays in the order of its layers, and so are the network's. Where all but the last layer
agree, and that one only in the number of classes, it alone begins anew. Names play no part: Keras counts layers up, so
the same network has other names in each process.
"""

from __future__ import annotations

import logging
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras_operator.api import InitialWeights, RunSpec

from model_store import NotFound, open_store
from model_trainer import run_folder
from model_trainer.builder import load_kept
from model_trainer.context import Context
from model_trainer.custom_code import foreign_code
from model_trainer.failure import BadModelFile, BadSavedModel
from model_trainer.keras_files import KerasFile, Kind, is_model_file, read_keras_file
from model_trainer.loading import load_model
from model_trainer.run_folder import RunFolder
from model_trainer.source import fetch_model_file, fetch_saved_model
from model_trainer.standardization import WHITENING

log = logging.getLogger(__name__)

FIELD = "spec.training.initialWeights"
_INNER = "model.weights.h5"


@dataclass(frozen=True, slots=True)
class Array:
    """One array of weights, and the name that its layer has where it comes from."""

    layer: str
    values: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One variable of the network, and the name of its layer."""

    layer: str
    variable: Any


def start_from(initial: InitialWeights, model: Any, spec: RunSpec, context: Context) -> None:
    """Give `model` the weights that `initial` names, and say what was taken over.

    Raises:
        BadModelFile, BadSavedModel: there are none, they cannot be read, or they are those of another network.
    """
    folder = context.scratch / "initial-weights"
    folder.mkdir()
    if initial.version is not None:
        origin = f"version {initial.version}"
        file = _of_version(initial.version, spec, folder, context)
        said = _fit_file(model, file, origin, folder, own=True)
    elif is_model_file(str(initial.uri)):
        origin = str(initial.uri)
        path = fetch_model_file(
            origin, spec.store.endpoint, folder, context.patience, context.board.say, field=f"{FIELD}.uri"
        )
        said = _fit_file(model, read_keras_file(path, origin), origin, folder, own=False)
    else:
        origin = str(initial.uri)
        store = open_store(origin, endpoint=spec.store.endpoint)
        fetch_saved_model(store, folder, context.patience, context.board.say, field=f"{FIELD}.uri")
        said = fit(model, _of_saved_model(folder, origin), origin)
    shutil.rmtree(folder)
    context.board.say(said)
    log.info("%s", said)


def _of_version(number: int, spec: RunSpec, scratch: Path, context: Context) -> KerasFile:
    store = open_store(spec.store.uri, endpoint=spec.store.endpoint)
    path = scratch / run_folder.MODEL
    folder = RunFolder(store, number, context.patience)
    try:
        folder.download(run_folder.MODEL, path)
    except NotFound as error:
        raise BadModelFile(
            f"Version {number} has no trained model under {store.uri}/.runs/{number}. Name a version that was trained "
            f"here in {FIELD}.version, or a file in {FIELD}.uri."
        ) from error
    # Its classes are its own builder's, which may be another than this version's.
    load_kept(folder)
    return read_keras_file(path, f"{store.uri}/.runs/{number}/{run_folder.MODEL}")


def _fit_file(model: Any, file: KerasFile, origin: str, folder: Path, *, own: bool) -> str:
    if file.kind is Kind.HDF5:
        with h5py.File(file.path, "r") as opened:
            root = opened.get("model_weights", opened)
            if "layer_names" in root.attrs:
                return fit(model, list(_of_layers(root)), origin)
        return _fit_numbered(model, file.path, origin)
    if not own and foreign_code(file.config):
        # Its weights need none of its code: they lie in a file of their own.
        with zipfile.ZipFile(file.path) as archive:
            return _fit_numbered(model, Path(archive.extract(_INNER, folder)), origin)
    known = keras.saving.get_custom_objects() if own else {}
    loaded = load_model(file, allow_code=own, allowed_by=FIELD, known=known)
    return fit(model, [Array(slot.layer, np.asarray(slot.variable)) for slot in slots_of(loaded)], origin)


def _of_layers(root: Any) -> Iterator[Array]:
    """A .h5 file's arrays, layer by layer.

    A model within the model is one group, with the arrays that are trained before those that are not; the names
    (`bn_Conv1/gamma:0`) say which belong together.
    """
    for outer in root.attrs["layer_names"]:
        if _text(outer) == WHITENING:
            continue
        group = root[_text(outer)]
        layers: dict[str, list[Array]] = {}
        for name in map(_text, group.attrs["weight_names"]):
            layer = name.rpartition("/")[0] or _text(outer)
            layers.setdefault(layer, []).append(Array(layer.rpartition("/")[2], group[name][()]))
        for arrays in layers.values():
            yield from arrays


def _of_saved_model(folder: Path, origin: str) -> list[Array]:
    try:
        variables = tf.saved_model.load(str(folder)).variables
    except Exception as error:  # whatever a graph of somebody else's raises
        raise BadSavedModel(
            f"The SavedModel under {origin} was not written by Keras, so its weights cannot be told apart "
            f"({type(error).__name__}). Name a .h5 or .keras file in {FIELD}.uri."
        ) from error
    names = [str(variable.name).partition(":")[0] for variable in variables]
    arrays = [
        Array(name.rpartition("/")[0].rpartition("/")[2], variable.numpy())
        for name, variable in zip(names, variables, strict=True)
    ]
    return [array for array in arrays if array.layer != WHITENING]


def slots_of(model: Any) -> list[Slot]:
    """The network's variables, layer by layer, those of models within it in their place."""
    slots: list[Slot] = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            slots += slots_of(layer)
        elif layer.name != WHITENING:
            slots += [Slot(layer.name, variable) for variable in layer.weights]
    return slots


def fit(model: Any, arrays: list[Array], origin: str) -> str:
    """Give `model` the arrays of the same network, which come from `origin`; returns what was taken over.

    Raises:
        BadModelFile: they are those of another network.
    """
    slots = slots_of(model)
    head = slots[-1].layer
    anew: Array | None = None
    for number, slot in enumerate(slots):
        if number >= len(arrays):
            raise _other_network(model, origin, f"it has nothing for layer {slot.layer}, {_size(slot.variable.shape)}")
        array, wanted = arrays[number], tuple(slot.variable.shape)
        if array.values.shape == wanted:
            continue
        if slot.layer != head or len(arrays) != len(slots) or array.values.shape[:-1] != wanted[:-1]:
            found = f"its layer {array.layer} has {_size(array.values.shape)}, and layer {slot.layer} {_size(wanted)}"
            raise _other_network(model, origin, found)
        anew = array
    if len(arrays) > len(slots):
        raise _other_network(model, origin, f"it has a layer more, {arrays[len(slots)].layer}")
    for slot, array in zip(slots, arrays, strict=True):
        if array.values.dtype.kind == "f" and not np.isfinite(array.values).all():
            raise _no_numbers(origin, array.layer)
        if anew is None or slot.layer != head:
            slot.variable.assign(array.values)
    if anew is None:
        return f"every layer begins with the weights of {origin}"
    return (
        f"every layer but the last begins with the weights of {origin}; {head} begins anew, because they are for "
        f"{anew.values.shape[-1]} classes and the data has {slots[-1].variable.shape[-1]}"
    )


def _fit_numbered(model: Any, path: Path, origin: str) -> str:
    """Weights as `save_weights` of Keras 3 writes them: under the layers' kinds, so only Keras can find its way.

    What Keras did not fill is found by the NaN that was there before.
    """
    inside = _check_numbered(path, origin)
    slots = slots_of(model)
    before = [np.array(slot.variable) for slot in slots]
    for slot, values in zip(slots, before, strict=True):
        slot.variable.assign(np.full_like(values, np.nan) if values.dtype.kind == "f" else values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.load_weights(path, skip_mismatch=True)
        except Exception as error:  # whatever a file of somebody else's raises
            raise BadModelFile(
                f"The weights in {origin} cannot be loaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0][:200]}). Save the whole model with "
                f"model.save('model.keras') and name that file in {FIELD}.uri."
            ) from error
    empty = [slot.layer for slot in slots if np.isnan(np.asarray(slot.variable, np.float32)).any()]
    head = slots[-1].layer
    if other := next((layer for layer in empty if layer != head), None):
        raise _other_network(model, origin, f"it has nothing that fits layer {other}")
    if inside != len(slots):
        raise _other_network(model, origin, f"it has {inside} arrays of weights, and the network takes {len(slots)}")
    if not empty:
        return f"every layer begins with the weights of {origin}"
    for slot, values in zip(slots, before, strict=True):
        if slot.layer == head:
            slot.variable.assign(values)
    return (
        f"every layer but the last begins with the weights of {origin}; {head} begins anew, because they are for "
        f"another number of classes than {slots[-1].variable.shape[-1]}"
    )


def _check_numbered(path: Path, origin: str) -> int:
    """The number of arrays, without those of optimizers and of random numbers. Raises where one is no number."""
    count = 0

    def look(name: str, item: Any) -> None:
        nonlocal count
        steps = name.split("/")
        if not isinstance(item, h5py.Dataset) or steps[0] == "optimizer" or "seed_generator" in steps:
            return
        count += 1
        if item.dtype.kind == "f" and not np.isfinite(item[()]).all():
            raise _no_numbers(origin, "/".join(steps[:-2]))

    with h5py.File(path, "r") as file:
        file.visititems(look)
    return count


def _other_network(model: Any, origin: str, found: str) -> BadModelFile:
    return BadModelFile(
        f"The weights of {origin} are those of another network than {model.name}: {found}. Choose the network, "
        f"data.imageSize and data.colorMode that they were trained with in spec.training, or remove {FIELD}."
    )


def _no_numbers(origin: str, layer: str) -> BadModelFile:
    return BadModelFile(
        f"Weights of {origin} are no numbers (NaN or infinite), first in {layer}. Its training diverged, or the file "
        f"is damaged: name another one in {FIELD}."
    )


def _size(shape: Any) -> str:
    return f"an array of {' x '.join(str(size) for size in shape) or '1'}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
