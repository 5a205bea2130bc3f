"""A Keras model from a .h5 or .keras file: by Keras 3, or by tf-keras where Keras 2 wrote it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import numpy as np

from model_trainer.custom_code import foreign_code
from model_trainer.failure import BadModelFile
from model_trainer.keras_files import KerasFile

log = logging.getLogger(__name__)

# What Keras 3 says of a class that it does not know, and tf-keras: "Unknown layer: 'X'", "Could not locate class 'X'".
_UNKNOWN = ("Unknown layer", "Could not locate", "Could not find", "Unknown activation", "Unknown object")


def load_model(
    file: KerasFile, *, allow_code: bool, allowed_by: str | None, known: Collection[str] = frozenset()
) -> Any:
    """A keras.Model or, from a file of Keras 1 or 2, a tf_keras.Model; not compiled.

    Args:
        file: what `read_keras_file` found.
        allow_code: whether Lambda layers in it may run.
        known: names of classes that are the team's own and have been defined in this process.
        allowed_by: the field by which people allow that, such as "spec.source.allowCode"; None where nobody can.

    Raises:
        BadModelFile: it has weights alone, brings code that is not allowed, or cannot be loaded, with the reason.
    """
    if file.config is None:
        raise BadModelFile(
            f"{file.uri} holds weights alone and not the model that they belong to. Save the whole model with "
            "model.save('model.keras') and upload that file."
        )
    _refuse_code(file, allow_code=allow_code, allowed_by=allowed_by, known=known)
    library, name = _library(file)
    log.info("%s was written by Keras %s and is read by %s", file.uri, file.keras_version or "1", name)
    path = _named_for_keras(file)
    try:
        model = library.models.load_model(path, compile=False, safe_mode=not allow_code)
    except Exception as error:  # whatever a file of somebody else's raises
        cause = _cause(error)
        if any(words in cause for words in _UNKNOWN):
            remedy = _ELSEWHERE if allowed_by else _OF_KERAS
            raise BadModelFile(f"{file.uri} cannot be loaded: {cause.rstrip('.')}. {remedy}") from error
        remedy = f"Save it again where it was trained, or {_EXPORT}." if allowed_by else _OF_KERAS
        raise BadModelFile(
            f"{file.uri}, written by Keras {file.keras_version or '1'}, cannot be loaded by {name} "
            f"({type(error).__name__}: {cause.rstrip('.')}). {remedy}"
        ) from error
    _refuse_no_numbers(model, file.uri)
    return model


_EXPORT = "export a SavedModel there with model.export(folder) and name that folder"
_OF_KERAS = "Build it of Keras' own layers, and save it by this Keras or an older one."
_ELSEWHERE = f"Where the class is known, {_EXPORT}."


def is_keras_2(model: Any) -> bool:
    """Whether a model belongs to tf-keras."""
    return type(model).__module__.partition(".")[0] == "tf_keras" or any(
        base.__module__.startswith("tf_keras") for base in type(model).__mro__
    )


def _refuse_code(file: KerasFile, *, allow_code: bool, allowed_by: str | None, known: Collection[str]) -> None:
    for found in foreign_code(file.config):
        if found.name in known:
            continue
        if found.carries_code and allow_code:
            log.warning("%s: layer %s is %s; %s lets it run", file.uri, found.layer, found.what, allowed_by)
            continue
        remedy = (
            _OF_KERAS
            if not allowed_by
            else f"If you trust who made it, write {allowed_by}: true; otherwise {_EXPORT}."
            if found.carries_code
            else _ELSEWHERE
        )
        raise BadModelFile(f"{file.uri} is not loaded: its layer {found.layer} is {found.what}. {remedy}")


def _library(file: KerasFile) -> tuple[Any, str]:
    if file.by_keras_2:
        import tf_keras  # noqa: PLC0415 - a second copy of Keras in memory, only where a file needs it

        # The log is JSON lines; what Keras would print goes to absl's log.
        tf_keras.utils.disable_interactive_logging()
        return tf_keras, f"tf-keras {tf_keras.__version__}"
    import keras  # noqa: PLC0415

    return keras, f"Keras {keras.__version__}"


def _named_for_keras(file: KerasFile) -> str:
    """Keras goes by the extension: a file with another one gets a second name."""
    wanted = ".h5" if file.kind == "HDF5" else ".keras"
    if file.path.suffix == wanted:
        return str(file.path)
    other = file.path.with_name(file.path.name + wanted)
    if not other.exists():
        other.hardlink_to(file.path)
    return str(other)


def _refuse_no_numbers(model: Any, uri: str) -> None:
    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f" and not np.isfinite(values.astype(np.float32)).all():
            raise BadModelFile(
                f"Weights in {uri} are no numbers (NaN or infinite), first in {weight.name}. Its training diverged, "
                "or the file is damaged: train it again, or upload another one."
            )


def _cause(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no message"
