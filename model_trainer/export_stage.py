"""The export stage: a servable from the trained model or from `source.uri`, verified and published."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import msgspec
import tensorflow as tf
from keras_operator.api import ProgressStage, RunResult, RunSpec, RunStage, Servable, Source

from model_store import Manifest, NotFound, Store, open_store, publish, read_manifest
from model_trainer import run_folder, warmup
from model_trainer.context import Context
from model_trainer.conversion import convert
from model_trainer.export import EXTRA_ASSETS, FLOAT_SIGNATURE, IMAGES, export_saved_model
from model_trainer.export_gates import Measured, of_classes, unmet
from model_trainer.failure import BadRun
from model_trainer.keras_files import is_model_file, read_keras_file
from model_trainer.latency import median_latency_ms
from model_trainer.loading import load_model
from model_trainer.parity import check_parity
from model_trainer.run_folder import ExportRecord, RunFolder
from model_trainer.samples import Samples
from model_trainer.signatures import describe_inputs, read_signatures
from model_trainer.source import check_saved_model, fetch_model_file, fetch_saved_model


@dataclass(frozen=True)
class _Verified:
    """A servable that may be published: parity with the trained model, what the manifest says of it, and its gates."""

    parity: float | None
    info: dict[str, Any]
    measured: Measured


def run_export(spec: RunSpec, context: Context) -> RunResult:
    """Publish version `spec.number`.

    A Job that is tried again after its version was published goes straight to the result.

    Raises:
        RunFailure, StoreError: see `failure_of`.
    """
    board = context.board
    store = open_store(spec.store.uri, endpoint=spec.store.endpoint)
    folder = RunFolder(store, spec.number, context.patience)
    folder.claim(spec.owner)
    published = context.patience("looking for the version", lambda: _manifest(store, spec.number))
    if published is not None:
        board.enter(ProgressStage.PUBLISHING, "the version had been published before; its result is used")
        before = folder.export_record()
        times = {**(before.times if before else {}), "published": datetime.fromisoformat(published.created_at)}
        return _result(store, published, before.parity if before else None, before.metrics if before else {}, times)

    directory = context.scratch / "servable"
    directory.mkdir()
    if spec.source is not None:
        verified = _from_source(spec, spec.source, directory, context)
    else:
        verified = _from_training(spec, folder, directory, context)
    board.happened("verified")
    measured = verified.measured
    if sentences := unmet(spec.gates, measured):
        board.say(f"nothing is published: {'; '.join(sentences)}")
        return RunResult(
            stage=RunStage.EXPORT,
            ok=True,
            metrics=measured.metrics,
            unmeasured=measured.unmeasured,
            times=board.progress.times,
        )

    board.enter(ProgressStage.PUBLISHING, f"publishing to {store.uri}/{spec.number}")
    folder.write(run_folder.EXPORT, ExportRecord(verified.parity, board.progress.times, measured.metrics))
    manifest = context.patience("publishing", lambda: publish(store, spec.number, directory, verified.info))
    board.happened("published")
    return _result(store, manifest, verified.parity, measured.metrics, board.progress.times)


def _from_training(spec: RunSpec, folder: RunFolder, directory: Path, context: Context) -> _Verified:
    board = context.board
    board.enter(ProgressStage.FETCHING, f"fetching the trained model of version {spec.number}")
    record = folder.record()
    if record is None:
        raise BadRun(
            f"Version {spec.number} of {spec.model} has no finished training under {folder.store.uri}/.runs; "
            "run the train stage first."
        )
    for name in (run_folder.MODEL, run_folder.SAMPLES):
        folder.download(name, context.scratch / name)
    model = keras.models.load_model(context.scratch / run_folder.MODEL, compile=False)
    samples = Samples.load(context.scratch / run_folder.SAMPLES)
    board.happened("loaded")

    board.enter(ProgressStage.EXPORTING, "exporting a SavedModel")
    export_saved_model(model, record.classes, directory)
    warmup.write_warmup(directory, spec.model_name, warmup.of_samples(samples))
    _add_data_card(folder, directory)
    board.happened("exported")

    board.enter(ProgressStage.VERIFYING, f"comparing it with the trained model on {len(samples.files)} images")
    parity = check_parity(directory, model, samples)
    loaded = tf.saved_model.load(str(directory))
    warmup.replay(directory, loaded)
    measured = of_classes(spec.gates, folder.evaluation())
    latency = median_latency_ms(loaded.signatures[FLOAT_SIGNATURE], IMAGES, samples.images[0])
    measured.metrics.update({"latency_ms": latency, "size_mb": _megabytes(directory)})
    info = {
        "signatures": msgspec.to_builtins(read_signatures(directory)),
        "classes": list(record.classes),
        "imageSize": list(record.image_size),
        "metrics": record.metrics,
        "tensorflowVersion": tf.__version__,
        "kerasVersion": keras.__version__,
    }
    return _Verified(parity, info, measured)


def _megabytes(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def _add_data_card(folder: RunFolder, directory: Path) -> None:
    """Put the data card beside the version; a training by an older release has left none."""
    with contextlib.suppress(NotFound):
        folder.download(run_folder.DATA_CARD, directory / EXTRA_ASSETS / run_folder.DATA_CARD)


def _from_source(spec: RunSpec, source: Source, directory: Path, context: Context) -> _Verified:
    if is_model_file(source.uri):
        return _from_model_file(spec, source, directory, context)
    board = context.board
    board.enter(ProgressStage.FETCHING, f"fetching the SavedModel under {source.uri}")
    fetch_saved_model(open_store(source.uri, endpoint=spec.store.endpoint), directory, context.patience, board.say)
    board.happened("loaded")
    board.enter(ProgressStage.VERIFYING, "loading it as a server would")
    signatures = check_saved_model(source.uri, directory, spec.model_name)
    info = {"signatures": msgspec.to_builtins(signatures), "classes": list(source.classes)}
    return _Verified(None, {**info, "tensorflowVersion": tf.__version__}, Measured({"size_mb": _megabytes(directory)}))


def _from_model_file(spec: RunSpec, source: Source, directory: Path, context: Context) -> _Verified:
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
    info = {
        "signatures": msgspec.to_builtins(read_signatures(directory)),
        "classes": list(source.classes),
        "tensorflowVersion": tf.__version__,
        "kerasVersion": file.keras_version or None,
    }
    if converted.image_size:
        info["imageSize"] = list(converted.image_size)
    return _Verified(converted.parity, info, Measured({"size_mb": _megabytes(directory)}))


def _manifest(store: Store, number: int) -> Manifest | None:
    try:
        return read_manifest(store, number)
    except NotFound:
        return None


def _result(
    store: Store, manifest: Manifest, parity: float | None, metrics: dict[str, float], times: dict[str, datetime]
) -> RunResult:
    servable = Servable(
        uri=f"{store.uri}/{manifest.number}",
        digest=manifest.digest,
        bytes=manifest.bytes,
        signatures=tuple(sorted(manifest.signatures)),
        inputs=describe_inputs(manifest.signatures),
    )
    return RunResult(
        stage=RunStage.EXPORT,
        ok=True,
        metrics=metrics,
        classes=len(manifest.classes) or None,
        servable=servable,
        parity=parity,
        times=times,
    )
