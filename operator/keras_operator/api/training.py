"""How a version is trained: data, network, optimizer, and when to stop."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .addresses import S3_FOLDER, does_not_end_in
from .architectures import ArchitectureName, smallest_image
from .data import Data
from .resources import Resources
from .rules import Rule, ruled
from .wire import Written


class OptimizerName(StrEnum):
    """Optimizers of Keras, by the name that `keras.optimizers.get` takes."""

    ADADELTA = "adadelta"
    ADAFACTOR = "adafactor"
    ADAGRAD = "adagrad"
    ADAM = "adam"
    ADAMAX = "adamax"
    ADAMW = "adamw"
    FTRL = "ftrl"
    LION = "lion"
    NADAM = "nadam"
    RMSPROP = "rmsprop"
    SGD = "sgd"


class Loss(StrEnum):
    """Losses of Keras that suit one class per image."""

    CATEGORICAL_CROSSENTROPY = "categorical_crossentropy"
    CATEGORICAL_FOCAL_CROSSENTROPY = "categorical_focal_crossentropy"
    KL_DIVERGENCE = "kl_divergence"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    SPARSE_CATEGORICAL_CROSSENTROPY = "sparse_categorical_crossentropy"


class Monitor(StrEnum):
    """What early stopping watches; `val_` is measured on the validation images."""

    ACCURACY = "accuracy"
    LOSS = "loss"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"


_MODEL_FILES = (".h5", ".hdf5", ".keras", ".pb", ".zip", ".tar", ".gz", ".tgz", ".onnx", ".tflite")


_SAVED_MODEL = does_not_end_in(
    _MODEL_FILES,
    "must be the folder of a SavedModel, the one that holds saved_model.pb, not a file; a .h5 or .keras file is "
    "turned into one by keras.models.load_model(file).export(folder)",
)


def _images_are_large_enough() -> tuple[Rule, ...]:
    """One rule for each size that some network needs."""
    sizes: dict[int, list[ArchitectureName]] = {}
    for name in ArchitectureName:
        sizes.setdefault(smallest_image(name), []).append(name)
    return tuple(_large_enough(size, names) for size, names in sorted(sizes.items()) if size > 8)


def _large_enough(size: int, names: list[ArchitectureName]) -> Rule:
    who = " and ".join(names) if len(names) < 4 else "this network of keras.applications"
    return Rule(
        cel=(
            f"!(self.architecture.name in {[str(name) for name in names]}) || "
            f"self.data.imageSize.all(side, side >= {size})"
        ),
        message=(
            f"{who} cannot take images below {size} by {size} pixels: write [{size}, {size}] or more, or another "
            "architecture.name"
        ),
        holds=lambda training: training.architecture.name not in names or min(training.data.image_size) >= size,
        field=".data.imageSize",
    )


class Architecture(Written, frozen=True, kw_only=True):
    """The network."""

    name: Annotated[
        ArchitectureName,
        Meta(
            description=(
                "SimpleCNN (two convolutions), SmallCNN (batch normalisation, dropout, a good start for small images) "
                "or a class name of keras.applications, trained from random weights."
            ),
            examples=["MobileNetV2"],
        ),
    ] = ArchitectureName.SMALL_CNN


class Optimizer(Written, frozen=True, kw_only=True):
    """The optimizer."""

    name: Annotated[OptimizerName, Meta(description="Name of a Keras optimizer.")] = OptimizerName.ADAM
    learning_rate: Annotated[
        float, Meta(gt=0, le=10, description="Learning rate, above 0 and at most 10.", examples=[0.0005])
    ] = 0.001


class Augmentation(Written, frozen=True, kw_only=True):
    """Random changes to the training images; what is left out is off."""

    rotation: Annotated[
        float, Meta(ge=0, le=180, description="Turn by up to so many degrees either way.", examples=[20])
    ] = 0.0
    width_shift: Annotated[
        float, Meta(ge=0, lt=1, description="Shift sideways by up to this part of the width.", examples=[0.2])
    ] = 0.0
    height_shift: Annotated[
        float, Meta(ge=0, lt=1, description="Shift up or down by up to this part of the height.", examples=[0.2])
    ] = 0.0
    shear: Annotated[float, Meta(ge=0, lt=90, description="Shear by up to so many degrees.", examples=[10])] = 0.0
    zoom: Annotated[
        float, Meta(ge=0, lt=1, description="Zoom in or out by up to this part of the size.", examples=[0.2])
    ] = 0.0
    horizontal_flip: Annotated[bool, Meta(description="Mirror left and right, at random.")] = False
    vertical_flip: Annotated[bool, Meta(description="Mirror top and bottom, at random.")] = False


class EarlyStopping(Written, frozen=True, kw_only=True):
    """Stop before the last epoch when nothing gets better."""

    monitor: Annotated[Monitor, Meta(description="What must get better.")] = Monitor.VAL_LOSS
    patience: Annotated[
        int, Meta(ge=1, le=10_000, description="Epochs to wait for something better before stopping.", examples=[5])
    ] = 3
    min_delta: Annotated[
        float, Meta(ge=0, le=1000, description="A smaller change than this does not count as better.", examples=[0.001])
    ] = 0.0
    restore_best_weights: Annotated[
        bool, Meta(description="Keep the weights of the best epoch instead of the last one.")
    ] = True


class Training(Written, frozen=True, kw_only=True):
    """How a version is trained; a change here makes a new version."""

    data: Annotated[Data, Meta(description="The images to learn from, and how they are split.")]
    architecture: Annotated[Architecture, Meta(description="The network.")] = Architecture()
    optimizer: Annotated[Optimizer, Meta(description="The optimizer and its learning rate.")] = Optimizer()
    loss: Annotated[Loss, Meta(description="Name of a Keras loss.")] = Loss.CATEGORICAL_CROSSENTROPY
    epochs: Annotated[
        int, Meta(ge=1, le=100_000, description="Times that training goes through the images.", examples=[20])
    ] = 10
    batch_size: Annotated[
        int, Meta(ge=1, le=65_536, description="Images that make one step of training.", examples=[64])
    ] = 32
    seed: Annotated[
        int,
        Meta(
            ge=0,
            le=2_147_483_647,
            description=(
                "Seed of every random choice: the first weights, the order, the augmentation. The split depends on the "
                "files alone."
            ),
        ),
    ] = 42
    augmentation: Annotated[
        Augmentation, Meta(description="Random changes to the training images; none unless asked for.")
    ] = Augmentation()
    early_stopping: (
        Annotated[
            EarlyStopping,
            Meta(description="Stop before the last epoch when nothing gets better; without it every epoch is run."),
        ]
        | None
    ) = None
    resources: Annotated[Resources, Meta(description="CPU, memory and devices of the container that trains.")] = (
        Resources()
    )
    active_deadline_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=2_592_000,
            description="Seconds, from 60 to 2592000 (30 days), after which the training is stopped and has failed.",
            examples=[3600],
        ),
    ] = 86_400

    RULES: ClassVar[tuple[Rule, ...]] = _images_are_large_enough()


class Source(Written, frozen=True, kw_only=True):
    """A model that is trained already; a change here makes a new version."""

    uri: Annotated[
        str,
        Meta(
            max_length=1024,
            description="Folder in S3 that holds a TensorFlow SavedModel (saved_model.pb and variables/).",
            examples=["s3://models/uploads/dogs"],
            extra=ruled(S3_FOLDER, _SAVED_MODEL),
        ),
    ]
