"""The rows of the table: each a few processes, one after the other, whose figures are held against each other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_operator.api import Store

from benchmarks.figures import Measured
from benchmarks.training import by_hand, fetching, kept, mnist
from benchmarks.training.child import measure
from benchmarks.training.first_step import free_port, wait_for_first_step
from benchmarks.training.minio import minio
from benchmarks.training.photos import CLASSES, write_photos
from benchmarks.training.runs import train, training_process
from model_trainer import machine

SIDE = 224
FILE_SIDE = 256
AUGMENTATION = {
    "rotation": 20,
    "widthShift": 0.2,
    "heightShift": 0.2,
    "shear": 20,
    "zoom": 0.2,
    "horizontalFlip": True,
}

# Enough steps for a steady pace, few enough that the slow network is no half an hour.
_WHOLE_IMAGES = 480
_WHOLE_EPOCHS = 3
_KEPT_EPOCHS = 6


def _training(folder: Path, architecture: str, epochs: int, side: int = SIDE, **data: Any) -> dict[str, Any]:
    fractions = {"validationFraction": 0.05, "testFraction": 0.05}
    return {
        "data": {"uri": folder.as_uri(), "imageSize": [side, side], **fractions, **data},
        "architecture": {"name": architecture},
        "epochs": epochs,
        "batchSize": by_hand.BATCH,
        "augmentation": AUGMENTATION,
    }


def pipeline(folder: Path) -> list[Measured]:
    """Augmentation alone, on 2,000 photos."""
    photos = str(write_photos(folder / "photos-2000", 2000, FILE_SIDE))
    usual = measure("pipelines:image_data_generator", folder=photos)["images/s"]
    layers = measure("pipelines:keras_layers", folder=photos)["images/s"]
    cached = measure("pipelines:this_project", folder=photos, on_disk=False)
    disk = measure("pipelines:this_project", folder=photos, on_disk=True)
    return [
        Measured("augmented pipeline, ImageDataGenerator", usual, "images/s"),
        Measured("augmented pipeline, Keras layers", layers, "images/s"),
        Measured("augmented pipeline, this, cached", cached["images/s"], "images/s"),
        Measured("augmented pipeline, this, from disk", disk["images/s"], "images/s"),
        Measured("decoding once", cached["decoded images/s"], "images/s"),
        Measured("cached vs ImageDataGenerator", cached["images/s"] / usual, "times", ">= 8"),
        Measured("cached vs Keras layers", cached["images/s"] / layers, "times", ">= 6.5"),
        Measured("from disk vs ImageDataGenerator", disk["images/s"] / usual, "times", ">= 4.3"),
        Measured("from disk vs Keras layers", disk["images/s"] / layers, "times", ">= 3.7"),
    ]


def whole(folder: Path) -> list[Measured]:
    """SimpleCNN at 224 x 224: an epoch of a run against as many steps on one batch that is always there."""
    photos = write_photos(folder / f"photos-{_WHOLE_IMAGES}", _WHOLE_IMAGES, FILE_SIDE)
    wanted = _training(photos, "SimpleCNN", _WHOLE_EPOCHS)
    cached = train(wanted, folder / "whole")
    images = cached.result.images
    assert images is not None
    limit = measure(
        "by_hand:one_cached_batch",
        name="SimpleCNN",
        side=SIDE,
        classes=CLASSES,
        steps=-(-images.train // by_hand.BATCH),
        validation_steps=-(-images.validation // by_hand.BATCH),
        epochs=_WHOLE_EPOCHS,
    )["seconds"]
    disk = train(wanted, folder / "whole", module="benchmarks.training.little_memory")
    return [
        Measured("an epoch on one cached batch (the limit)", limit, "s"),
        Measured("an epoch of a run, cached", cached.epoch(_WHOLE_EPOCHS), "s"),
        Measured("an epoch of a run, from disk", disk.epoch(_WHOLE_EPOCHS), "s"),
        Measured("a run's epoch vs the limit, cached", cached.epoch(_WHOLE_EPOCHS) / limit, "times", "<= 1.12"),
        Measured("a run's epoch vs the limit, from disk", disk.epoch(_WHOLE_EPOCHS) / limit, "times", "<= 1.22"),
    ]


def by_usual_script(folder: Path) -> list[Measured]:
    """The usual script against a run: the same files, network and epochs; imports and all reading included.

    Enough photos that training is more of it than the start is; of SmallCNN, which is soon through with an epoch, also
    with twice the epochs, which says how much of the difference the start takes.
    """
    figures = []
    photos = write_photos(folder / "photos-2000", 2000, FILE_SIDE)
    for architecture, epochs, bar in (("SimpleCNN", 5, ">= 1.5"), ("SmallCNN", 5, ">= 3"), ("SmallCNN", 10, ">= 3")):
        name = f"{architecture}, {epochs} epochs"
        script = measure(
            "by_hand:usual_script", name=architecture, folder=str(photos), side=SIDE, epochs=epochs, validation=0.1
        )
        run = train(_training(photos, architecture, epochs), folder / "usual")
        reached, script_took, run_took = same_accuracy(script["accuracies"], run.accuracies)
        figures += [
            Measured(f"{name}: the usual script", script["seconds"], "s"),
            Measured(f"{name}: a run", run.at("trained"), "s"),
            Measured(f"{name}: the usual script vs a run", script["seconds"] / run.at("trained"), "times", bar),
            Measured(f"{name}: the usual script's accuracy", script["accuracies"][-1][1], "of 1"),
            Measured(f"{name}: the run's accuracy", run.accuracies[-1][1], "of 1"),
            Measured(f"{name}: an accuracy that both reached", reached, "of 1"),
            Measured(f"{name}: the usual script, to that accuracy", script_took, "s"),
            Measured(f"{name}: a run, to that accuracy", run_took, "s"),
            Measured(f"{name}: the usual script vs a run, to that accuracy", script_took / run_took, "times", bar),
        ]
    return figures


def same_accuracy(
    some: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """The highest accuracy that both reached, and the seconds that each took until an epoch ended with it or more.

    Args:
        some, others: of each epoch, the seconds to its end and the accuracy after it.
    """
    reached = min(max(accuracy for _, accuracy in epochs) for epochs in (some, others))
    first, second = (next(took for took, found in epochs if found >= reached) for epochs in (some, others))
    return reached, first, second


def start(folder: Path) -> list[Measured]:
    """From the start of the Job's process to the first training step: 2,000 photos in MinIO."""
    photos = write_photos(folder / "photos-2000", 2000, FILE_SIDE)
    with minio() as store:
        store.upload(photos, "photos")
        wanted = _training(photos, "SimpleCNN", 1)
        wanted["data"]["uri"] = "s3://photos"
        place = Store(uri="s3://models/photos", endpoint=store.endpoint)
        port = free_port()
        environment = store.environment | {"KERAS_PROGRESS_PORT": str(port)}
        with training_process(wanted, folder / "start", place, environment) as process:
            started = wait_for_first_step(process, port)
    return [
        Measured("start to data ready", started.data_ready, "s"),
        Measured("start to first training step", started.first_step, "s", "<= 18"),
    ]


def fetch(folder: Path) -> list[Measured]:
    """The 60,000 images of MNIST as objects in MinIO, until they are files on the scratch volume."""
    images = mnist.write_images(folder / "mnist") / "train"
    count = sum(1 for _ in images.rglob("*.png"))
    with minio() as store, tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
        fetching.fill(store, images)
        seconds = {name: fetching.seconds(name, store, Path(scratch), count) for name in fetching.WAYS}
    this, aws, s5cmd = (seconds[name] for name in ("this", "aws", "s5cmd"))
    return [
        Measured("60,000 objects: aws s3 cp --recursive", aws, "s"),
        Measured("60,000 objects: s5cmd cp", s5cmd, "s"),
        Measured("60,000 objects: this", this, "s"),
        Measured("60,000 objects: aws s3 cp --recursive vs this", aws / this, "times", ">= 2"),
        Measured("60,000 objects: this vs s5cmd", this / s5cmd, "times", "<= 2.5"),
    ]


def checkpoints(folder: Path) -> list[Measured]:
    """What checkpoints take of the time of training: SimpleCNN at 224 x 224, whose state has 23 MB, kept in MinIO.

    Training waits while the state is copied; writing it to the store shares the processors with it.
    """
    photos = write_photos(folder / f"photos-{_WHOLE_IMAGES}", _WHOLE_IMAGES, FILE_SIDE)
    with minio() as store:
        store.upload(photos, "photos")
        run = train(
            _training(photos, "SimpleCNN", _KEPT_EPOCHS),
            folder / "kept",
            Store(uri="s3://models/photos", endpoint=store.endpoint),
            "benchmarks.training.kept",
            store.environment,
        )
    (cost,) = (line for line in run.log if line["message"] == kept.SAYS)
    trained = run.at("trained") - run.at("dataReady")
    beside = cost["beside"] / machine.processors()
    return [
        Measured("checkpoints: an epoch", run.epoch(_KEPT_EPOCHS), "s"),
        Measured("checkpoints: training waits, all epochs", cost["held"], "s"),
        Measured("checkpoints: written beside it, of all processors", beside, "s"),
        Measured("checkpoints: both, share of the training", (cost["held"] + beside) / trained, "of 1", "<= 0.03"),
    ]


def memory(folder: Path) -> list[Measured]:
    """Peak beyond what the same network needs on one batch, and beyond the decoded images that it says it keeps."""
    figures = []
    for count, side in ((2000, SIDE), (60_000, 32)):
        photos = write_photos(folder / f"photos-{count}-{side}", count, side)
        run = train(_training(photos, "SmallCNN", 1, side), folder / "memory")
        network = measure(
            "by_hand:one_cached_batch",
            name="SmallCNN",
            side=side,
            classes=CLASSES,
            steps=20,
            validation_steps=5,
            epochs=1,
        )["peak MiB"]
        figures += [
            Measured(f"{count} images: peak of the network on one batch", network, "MiB"),
            Measured(f"{count} images: decoded images that are kept", run.cache, "MiB"),
            Measured(f"{count} images: peak beyond both", run.peak - run.cache - network, "MiB", "<= 300"),
        ]
    return figures


ROWS: dict[str, Callable[[Path], list[Measured]]] = {
    "pipeline": pipeline,
    "whole": whole,
    "script": by_usual_script,
    "start": start,
    "fetch": fetch,
    "checkpoints": checkpoints,
    "memory": memory,
    "mnist": mnist.row,
}


def clean(folder: Path) -> None:
    """Remove what runs have left; the photos stay."""
    for name in ("whole", "usual", "start", "kept", "memory", "mnist-run"):
        shutil.rmtree(folder / name, ignore_errors=True)
