"""The export stage: a servable from the trained model or from `source.uri`, verified and published."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import msgspec
import tensorflow as tf
from keras_operator.api import ProgressStage, RunResult, RunSpec, RunStage, Servable, Source

from model_store import (
    Manifest,
    NotFound,
    Store,
    fetch_described,
    make_visible,
    open_store,
    read_manifest,
    upload,
    withdraw,
)
from model_trainer import run_folder, warmup
from model_trainer.builder import load_kept
from model_trainer.context import Context
from model_trainer.conversion import convert
from model_trainer.export import EXTRA_ASSETS, FLOAT_SIGNATURE, IMAGES, export_saved_model
from model_trainer.export_gates import Measured, of_classes, unmet
from model_trainer.failure import BadRun, ParityFailed
from model_trainer.keras_files import is_model_file, read_keras_file
from model_trainer.latency import median_latency_ms
from model_trainer.loading import load_model
from model_trainer.parity import check_parity
from model_trainer.run_folder import ExportRecord, Record, RunFolder
from model_trainer.samples import Samples
from model_trainer.signatures import describe_inputs, read_signatures
from model_trainer.source import check_saved_model, fetch_model_file, fetch_saved_model
from model_trainer.tables.export import export_table
from model_trainer.tables.parity import check_numbers, check_rows
from model_trainer.tables.samples import RowSamples


@dataclass(frozen=True)
class _Exported:
    """A servable on this machine, which loads and answers its warm-up records.

    `info` is what the manifest says of it, `measured` what its gates are judged by, and `parity` compares one that was
    fetched from the store again, in a folder, with the model that it was made from; None where that was done already or
    cannot be done.
    """

    info: dict[str, Any]
    measured: Measured
    parity: Callable[[Path], float] | float | None


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
        exported = _from_source(spec, spec.source, directory, context)
    else:
        exported = _from_training(spec, folder, directory, context)
    measured = exported.measured
    if sentences := unmet(spec.gates, measured):
        board.say(f"nothing is published: {'; '.join(sentences)}")
        return RunResult(
            stage=RunStage.EXPORT,
            ok=True,
            metrics=measured.metrics,
            unmeasured=measured.unmeasured,
            times=board.progress.times,
        )

    board.enter(ProgressStage.PUBLISHING, f"uploading to {store.uri}/{spec.number}")
    manifest = context.patience("uploading", lambda: upload(store, spec.number, directory, exported.info))
    board.enter(ProgressStage.VERIFYING, "comparing what the store holds now with the model that it was made from")
    parity = _parity_of_stored(store, manifest, exported, context)
    board.happened("verified")
    board.enter(ProgressStage.PUBLISHING, f"publishing {store.uri}/{spec.number}")
    folder.write(run_folder.EXPORT, ExportRecord(parity, board.progress.times, measured.metrics))
    manifest = context.patience("publishing", lambda: make_visible(store, manifest))
    board.happened("published")
    return _result(store, manifest, parity, measured.metrics, board.progress.times)


def _parity_of_stored(store: Store, manifest: Manifest, exported: _Exported, context: Context) -> float | None:
    """The parity of what was uploaded, fetched again and compared with its checksums; withdrawn where it is no copy."""
    stored = context.scratch / "stored"
    context.patience("fetching it again", lambda: fetch_described(store, manifest, stored))
    if not callable(exported.parity):
        return exported.parity
    try:
        return exported.parity(stored / str(manifest.number))
    except ParityFailed:
        context.patience("withdrawing it", lambda: withdraw(store, manifest.number))
        raise


def _from_training(spec: RunSpec, folder: RunFolder, directory: Path, context: Context) -> _Exported:
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
    own_code = load_kept(folder)
    model = keras.models.load_model(context.scratch / run_folder.MODEL, compile=False, safe_mode=not own_code)
    board.happened("loaded")

    board.enter(ProgressStage.EXPORTING, "exporting a SavedModel")
    write = _table if record.columns else _images
    made = write(model, record, directory, context.scratch / run_folder.SAMPLES)
    warmup.write_warmup(directory, spec.model_name, made.records)
    _add_papers(folder, directory)
    board.happened("exported")

    board.enter(ProgressStage.VERIFYING, "loading it as a server would")
    loaded = tf.saved_model.load(str(directory))
    warmup.replay(directory, loaded)
    measured = of_classes(spec.gates, None if record.target else folder.evaluation())
    latency = median_latency_ms(loaded.signatures[FLOAT_SIGNATURE], made.single)
    measured.metrics.update({"latency_ms": latency, "size_mb": _megabytes(directory)})
    info = {
        "signatures": msgspec.to_builtins(read_signatures(directory)),
        "classes": list(record.classes),
        "metrics": record.metrics,
        "lineage": record.lineage,
        "tensorflowVersion": tf.__version__,
        "kerasVersion": keras.__version__,
    }
    if record.image_size is not None:
        info["imageSize"] = list(record.image_size)
    return _Exported(info, measured, made.parity)


@dataclass(frozen=True)
class _Made:
    """A SavedModel of a training's model: records to warm it up, one example for its first signature, its parity."""

    records: list[tuple[str, warmup.Inputs]]
    single: warmup.Inputs
    parity: Callable[[Path], float]


def _images(model: Any, record: Record, directory: Path, path: Path) -> _Made:
    samples = Samples.load(path)
    export_saved_model(model, record.classes, directory)
    return _Made(
        warmup.of_samples(samples),
        {IMAGES: samples.images(0, 1)},
        lambda stored: check_parity(stored, model, samples, record.classes),
    )


def _table(model: Any, record: Record, directory: Path, path: Path) -> _Made:
    samples = RowSamples.load(path, record.columns)
    target = record.target
    export_table(model, record.columns, record.classes, directory, numeric=target is not None)

    def parity(stored: Path) -> float:
        if target is not None:
            return check_numbers(stored, model, samples, target.scale)
        return check_rows(stored, model, samples, record.classes)

    return _Made(warmup.of_rows(samples), samples.first(1), parity)


def _megabytes(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def _of_source(directory: Path) -> Measured:
    return Measured({"size_mb": _megabytes(directory)})


def _add_papers(folder: RunFolder, directory: Path) -> None:
    """Put data card and report beside the version; a training by an older release has left none."""
    for name in (run_folder.DATA_CARD, run_folder.REPORT):
        with contextlib.suppress(NotFound):
            folder.download(name, directory / EXTRA_ASSETS / name)


def _from_source(spec: RunSpec, source: Source, directory: Path, context: Context) -> _Exported:
    if is_model_file(source.uri):
        return _from_model_file(spec, source, directory, context)
    board = context.board
    board.enter(ProgressStage.FETCHING, f"fetching the SavedModel under {source.uri}")
    fetch_saved_model(open_store(source.uri, endpoint=spec.store.endpoint), directory, context.patience, board.say)
    board.happened("loaded")
    board.enter(ProgressStage.VERIFYING, "loading it as a server would")
    signatures = check_saved_model(source.uri, directory, spec.model_name)
    info = {"signatures": msgspec.to_builtins(signatures), "classes": list(source.classes)}
    return _Exported({**info, "tensorflowVersion": tf.__version__}, _of_source(directory), None)


def _from_model_file(spec: RunSpec, source: Source, directory: Path, context: Context) -> _Exported:
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
    return _Exported(info, _of_source(directory), converted.parity)


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
