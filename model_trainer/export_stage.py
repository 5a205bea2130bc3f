"""The export stage: a servable from the trained model or from `source.uri`, verified and published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import keras
import msgspec
import tensorflow as tf
from keras_operator.api import Images, ProgressStage, RunResult, RunSpec, RunStage, Servable

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
from model_trainer.evaluation.source_record import SourceRecord
from model_trainer.export import EXTRA_ASSETS, FLOAT_SIGNATURE, IMAGES, export_saved_model
from model_trainer.export_gates import of_classes, unmet
from model_trainer.export_source import from_source
from model_trainer.exported import Exported, megabytes
from model_trainer.failure import BadRun, InvalidArchitecture, ParityFailed
from model_trainer.latency import median_latency_ms
from model_trainer.parity import check_parity
from model_trainer.run_folder import ExportRecord, Record, RunFolder
from model_trainer.samples import Samples
from model_trainer.signatures import describe_inputs, read_signatures
from model_trainer.tables.export import export_table
from model_trainer.tables.parity import check_numbers, check_rows
from model_trainer.tables.samples import RowSamples
from model_trainer.tflite import add_tflite


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
        before = folder.export_record() or ExportRecord(None, {})
        times = {**before.times, "published": datetime.fromisoformat(published.created_at)}
        return _result(store, published, msgspec.structs.replace(before, times=times))

    directory = context.scratch / "servable"
    directory.mkdir()
    if spec.source is not None:
        exported = from_source(spec, spec.source, folder, directory, context)
    else:
        exported = _from_training(spec, folder, directory, context)
    measured = exported.measured
    if sentences := unmet(spec.gates, measured, exported.source):
        board.say(f"nothing is published: {'; '.join(sentences)}")
        result = RunResult(
            stage=RunStage.EXPORT,
            ok=True,
            metrics=measured.metrics,
            unmeasured=measured.unmeasured,
            times=board.progress.times,
        )
        return _with_evaluation(result, exported.source)

    board.enter(ProgressStage.PUBLISHING, f"uploading to {store.uri}/{spec.number}")
    manifest = context.patience("uploading", lambda: upload(store, spec.number, directory, exported.info))
    board.enter(ProgressStage.VERIFYING, "comparing what the store holds now with the model that it was made from")
    parity = _parity_of_stored(store, manifest, exported, context)
    board.happened("verified")
    board.enter(ProgressStage.PUBLISHING, f"publishing {store.uri}/{spec.number}")
    record = ExportRecord(parity, board.progress.times, measured.metrics, exported.source)
    folder.write(run_folder.EXPORT, record)
    manifest = context.patience("publishing", lambda: make_visible(store, manifest))
    board.happened("published")
    return _result(store, manifest, msgspec.structs.replace(record, times=board.progress.times))


def _parity_of_stored(store: Store, manifest: Manifest, exported: Exported, context: Context) -> float | None:
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


def _from_training(spec: RunSpec, folder: RunFolder, directory: Path, context: Context) -> Exported:
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
    if spec.training is not None and spec.training.tflite and made.images is not None:
        board.say("making a TFLite file of it")
        add_tflite(directory, FLOAT_SIGNATURE, ({IMAGES: batch} for batch in made.images.batches()), _no_tflite)
    warmup.write_warmup(directory, spec.model_name, made.records)
    folder.add_papers(directory / EXTRA_ASSETS)
    board.happened("exported")

    board.enter(ProgressStage.VERIFYING, "loading it as a server would")
    loaded = tf.saved_model.load(str(directory))
    warmup.replay(directory, loaded)
    measured = of_classes(spec.gates, None if record.target else folder.evaluation())
    latency = median_latency_ms(loaded.signatures[FLOAT_SIGNATURE], made.single)
    measured.metrics.update({"latency_ms": latency, "size_mb": megabytes(directory)})
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
    return Exported(info, measured, made.parity)


@dataclass(frozen=True)
class _Made:
    """A SavedModel of a training's model.

    Records to warm it up, one example for its first signature, its parity, and the images that it is compared on.
    """

    records: list[tuple[str, warmup.Inputs]]
    single: warmup.Inputs
    parity: Callable[[Path], float]
    images: Samples | None = None


def _images(model: Any, record: Record, directory: Path, path: Path) -> _Made:
    samples = Samples.load(path)
    export_saved_model(model, record.classes, directory)
    return _Made(
        warmup.of_samples(samples),
        {IMAGES: samples.images(0, 1)},
        lambda stored: check_parity(stored, model, samples, record.classes),
        samples,
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


def _no_tflite(why: str) -> InvalidArchitecture:
    return InvalidArchitecture(f"spec.training.tflite is true, and {why}. Leave it out, or choose another network.")


def _manifest(store: Store, number: int) -> Manifest | None:
    try:
        return read_manifest(store, number)
    except NotFound:
        return None


def _result(store: Store, manifest: Manifest, record: ExportRecord) -> RunResult:
    servable = Servable(
        uri=f"{store.uri}/{manifest.number}",
        digest=manifest.digest,
        bytes=manifest.bytes,
        signatures=tuple(sorted(manifest.signatures)),
        inputs=describe_inputs(manifest.signatures),
    )
    result = RunResult(
        stage=RunStage.EXPORT,
        ok=True,
        metrics=record.metrics,
        classes=len(manifest.classes) or None,
        servable=servable,
        parity=record.parity,
        times=record.times,
    )
    return _with_evaluation(result, record.source)


def _with_evaluation(result: RunResult, source: SourceRecord | None) -> RunResult:
    """The result with what was measured of a source on its test data, where it has some."""
    if source is None:
        return result
    return msgspec.structs.replace(
        result,
        evaluation=source.metrics,
        comparison=source.comparison,
        classes=len(source.classes) or None,
        images=Images(train=0, validation=0, test=source.images),
        bad_files=source.bad_files,
        data_hash=source.data_hash,
    )
