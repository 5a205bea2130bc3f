"""From `source.uri` to a servable: fetched or converted, checked as a server would, evaluated on its test data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import tensorflow as tf
from keras_operator.api import ProgressStage, RunSpec, Source

from model_store import open_store
from model_trainer import warmup
from model_trainer.context import Context
from model_trainer.conversion import convert
from model_trainer.evaluation.source import EvaluatedSource, evaluate_source
from model_trainer.export import FLOAT_SIGNATURE
from model_trainer.export_gates import Measured, of_classes
from model_trainer.exported import Exported, megabytes
from model_trainer.failure import BadModelFile, BadSavedModel, RunFailure
from model_trainer.keras_files import is_model_file, read_keras_file
from model_trainer.latency import median_latency_ms
from model_trainer.loading import load_model
from model_trainer.run_folder import RunFolder
from model_trainer.signatures import SERVE, Signature, read_signatures
from model_trainer.source import check_saved_model, fetch_model_file, fetch_saved_model
from model_trainer.tflite import add_tflite, generated, signature_of_numbers


def from_source(spec: RunSpec, source: Source, folder: RunFolder, directory: Path, context: Context) -> Exported:
    """Write the servable of `source` to `directory`. Raises RunFailure and StoreError."""
    make = _from_model_file if is_model_file(source.uri) else _from_saved_model
    signatures, info, parity = make(spec, source, directory, context)
    info = {"signatures": msgspec.to_builtins(signatures), "classes": list(source.classes), **info}
    latency = _latency(directory)
    if source.test_data is None:
        if source.tflite:
            _tflite(source, directory, signatures, None)
        return Exported(info, _with_size(directory, latency), parity)
    evaluated = evaluate_source(spec, source, source.test_data, folder, directory, signatures, context)
    context.board.happened("evaluated")
    info |= {"metrics": evaluated.source.metrics, "lineage": evaluated.lineage}
    if source.tflite:
        _tflite(source, directory, signatures, evaluated)
    by_class = of_classes(spec.gates, evaluated.record)
    measured = _with_size(directory, latency)
    together = Measured({**by_class.metrics, **measured.metrics}, {**by_class.unmeasured, **measured.unmeasured})
    return Exported(info, together, parity, evaluated.source)


Made = tuple[dict[str, Signature], dict[str, Any], float | None]
"""A servable's signatures, what else its manifest says, and its parity where that can be told."""


def _from_saved_model(spec: RunSpec, source: Source, directory: Path, context: Context) -> Made:
    board = context.board
    board.enter(ProgressStage.FETCHING, f"fetching the SavedModel under {source.uri}")
    fetch_saved_model(open_store(source.uri, endpoint=spec.store.endpoint), directory, context.patience, board.say)
    board.happened("loaded")
    board.enter(ProgressStage.VERIFYING, "loading it as a server would")
    signatures = check_saved_model(source.uri, directory, spec.model_name)
    return signatures, {"tensorflowVersion": tf.__version__}, None


def _from_model_file(spec: RunSpec, source: Source, directory: Path, context: Context) -> Made:
    board = context.board
    board.enter(ProgressStage.FETCHING, f"fetching {source.uri}")
    path = fetch_model_file(
        source.uri, spec.store.endpoint, context.scratch, context.patience, board.say, field="spec.source.uri"
    )
    file = read_keras_file(path, source.uri)
    model = load_model(file, allow_code=source.allow_code, allowed_by="spec.source.allowCode")
    board.happened("loaded")
    board.enter(ProgressStage.EXPORTING, "exporting a SavedModel, and comparing it with the model on generated inputs")
    converted = convert(model, source, directory, spec.model_name)
    info: dict[str, Any] = {"tensorflowVersion": tf.__version__, "kerasVersion": file.keras_version or None}
    if converted.image_size:
        info["imageSize"] = list(converted.image_size)
    return read_signatures(directory), info, converted.parity


def _tflite(
    source: Source, directory: Path, signatures: dict[str, Signature], evaluated: EvaluatedSource | None
) -> None:
    """A TFLite file of the signature that takes the test data or, without any, of one that takes numbers."""

    def refuse(why: str) -> RunFailure:
        kind = BadModelFile if is_model_file(source.uri) else BadSavedModel
        return kind(f"spec.source.tflite is true, and {why}. Leave it out to publish {source.uri} alone.")

    if evaluated is not None and evaluated.asked is not None:
        add_tflite(directory, *evaluated.asked, refuse)
        return
    name = signature_of_numbers(signatures)
    if name is None:
        raise refuse("no signature of the model takes only numbers")
    add_tflite(directory, name, [generated(signatures[name])], refuse)


def _with_size(directory: Path, latency: float | None) -> Measured:
    metrics = {"size_mb": megabytes(directory)}
    if latency is not None:
        return Measured({**metrics, "latency_ms": latency})
    return Measured(metrics, {"latency_ms": "it brings no warm-up records, and no signature answers zeros"})


def _latency(directory: Path) -> float | None:
    """By the first example of a warm-up record, of `serving_default` where there is one; None without records."""
    if not warmup.warmup_path(directory).is_file():
        return None
    records = list(warmup.read_warmup(directory))
    if not records:
        return None
    name, inputs = next((record for record in records if record[0] == FLOAT_SIGNATURE), records[0])
    batched = all(len(values.shape) for values in inputs.values())
    single = {key: (values[:1] if batched else values).numpy() for key, values in inputs.items()}
    loaded = tf.saved_model.load(str(directory), tags=[SERVE])
    return median_latency_ms(loaded.signatures[name], single)
