"""How a version is trained: data, network, optimizer, and when to stop."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .architectures import ArchitectureName, PretrainedWeights, smallest_image
from .augmentation import Augmentation
from .builder import Builder
from .course import RULES_OF_COURSE, Checkpoint, EarlyStopping, ReduceOnPlateau, StopAt
from .data import Data
from .fine_tuning import RULES_OF_FINE_TUNING, FineTuning
from .initial_weights import InitialWeights
from .loss_parameters import RULES_OF_LOSS, LossParameters
from .losses import DEFAULT_OF_NUMBERS, OF_SMOOTH_LABELS, OF_WHOLE_LABELS, Loss, named
from .metrics import EACH_ONCE, OF_ONE_HOT, TrainingMetric
from .names import listed
from .normalization import Normalization
from .optimizer import Optimizer
from .own_container import OwnContainer, rules_of_container
from .precision import MixedPrecision
from .resources import Resources
from .rules import Rule, ruled
from .scheduling import (
    EVERY_WORKER_HAS_WORK,
    GPU,
    GPUS_ARE_USED,
    GPUS_ARE_WRITTEN_ONCE,
    WORKERS_ARE_NOT_COMPILED,
    GpusPerWorker,
    NodeSelector,
    PriorityClassName,
    QueueName,
    Tolerations,
    Workers,
)
from .table import RULES_OF_TRAINING
from .target import RULES_OF_TRAINING as RULES_OF_TARGET
from .target import learns_number
from .wire import Written


def _images_are_large_enough() -> tuple[Rule, ...]:
    """One rule for each size that some network needs."""
    sizes: dict[int, list[ArchitectureName]] = {}
    for name in ArchitectureName:
        sizes.setdefault(smallest_image(name), []).append(name)
    return tuple(_large_enough(size, names) for size, names in sorted(sizes.items()) if size > 8)


def _large_enough(size: int, names: list[ArchitectureName]) -> Rule:
    who = " and ".join(names) if len(names) < 4 else "a network of keras.applications"
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
        says=(
            f"'%s cannot take images below {size} by {size} pixels: write [{size}, {size}] or more, or another "
            "architecture.name'.format([self.architecture.name])"
        ),
    )


def _mixes_labels(field: str) -> Rule:
    """A class index has no half: what mixes two images needs a loss whose labels may be any part of each class."""
    return Rule(
        cel=(
            f"!has(self.augmentation.{field}) || self.augmentation.{field} == 0.0 || !has(self.loss) || "
            f"!(self.loss in {named(OF_WHOLE_LABELS)})"
        ),
        message=(
            f"gives each image a part of two labels, which {listed(OF_WHOLE_LABELS)} cannot take: write loss: "
            f"categorical_crossentropy, or leave {field} out"
        ),
        holds=lambda training: not getattr(training.augmentation, field) or training.loss not in OF_WHOLE_LABELS,
        field=f".augmentation.{field}",
    )


_OWN = [str(name) for name in (ArchitectureName.SIMPLE_CNN, ArchitectureName.SMALL_CNN, ArchitectureName.MLP)]


def _only_of_mlp(field: str, written: str) -> Rule:
    return Rule(
        cel=f"!has(self.{written}) || self.name == 'MLP'",
        message="is of the MLP alone: remove it, or write name: MLP to learn from a table",
        holds=lambda architecture: getattr(architecture, field) is None or architecture.name is ArchitectureName.MLP,
        field=f".{written}",
    )


class Architecture(Written, frozen=True, kw_only=True):
    """The network."""

    name: Annotated[
        ArchitectureName,
        Meta(
            description=(
                "SimpleCNN (two convolutions), SmallCNN (batch normalisation, dropout, a good start for small images), "
                "a class name of keras.applications, or, for tables, MLP (dense layers)."
            ),
            examples=["MobileNetV2"],
        ),
    ] = ArchitectureName.SMALL_CNN
    weights: Annotated[
        PretrainedWeights,
        Meta(
            description=(
                "none: random weights. imagenet: those that Keras downloads for its own networks, from "
                "storage.googleapis.com, with a last layer for the classes of the data."
            ),
            examples=["imagenet"],
        ),
    ] = PretrainedWeights.NONE
    hidden_units: (
        Annotated[
            tuple[Annotated[int, Meta(ge=1, le=4096)], ...],
            Meta(
                max_length=16,
                description=(
                    "Number of units of each hidden layer of the MLP, the first one first, each from 1 to 4096; [] is "
                    "a linear model. Left out: [64, 64]."
                ),
                examples=[[128, 64]],
            ),
        ]
        | None
    ) = None
    dropout: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                description=(
                    "Fraction of the units of each hidden layer of the MLP, from 0 to below 1, that each step leaves "
                    "out. Left out: 0."
                ),
                examples=[0.2],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"!has(self.weights) || self.weights == 'none' || !(self.name in {_OWN})",
            message=(
                "there are ImageNet weights for the networks of keras.applications alone: choose one of those in name, "
                "or remove weights"
            ),
            holds=lambda architecture: architecture.weights is PretrainedWeights.NONE or architecture.name not in _OWN,
            field=".weights",
        ),
        _only_of_mlp("hidden_units", "hiddenUnits"),
        _only_of_mlp("dropout", "dropout"),
    )


class Training(Written, frozen=True, kw_only=True):
    """How a version is trained; a change here makes a new version."""

    data: Annotated[
        Data,
        Meta(
            description="The images or rows to learn from, and how they are split.",
            examples=[{"uri": "s3://datasets/dogs"}],
        ),
    ]
    architecture: Annotated[Architecture, Meta(description="The network.", examples=[{"name": "MobileNetV2"}])] = (
        Architecture()
    )
    builder: (
        Annotated[
            Builder,
            Meta(
                description=(
                    "The network as Python of your own, in place of architecture. Left out: architecture names it."
                ),
                examples=[{"configMapKeyRef": {"name": "my-net", "key": "net.py"}}],
            ),
        ]
        | None
    ) = None
    container: (
        Annotated[
            OwnContainer,
            Meta(
                description=(
                    "An image of your own that trains, in place of architecture and all that says how; what it leaves "
                    "is evaluated, judged and published as any version. Left out: the operator's trainer trains."
                ),
                examples=[{"image": "registry.example.com/vision/net:1.4"}],
            ),
        ]
        | None
    ) = None
    initial_weights: (
        Annotated[
            InitialWeights,
            Meta(
                description=(
                    "Weights to start from: fine-tuning. Another number of classes replaces only the last layer. Left "
                    "out: random ones."
                ),
                examples=[{"uri": "s3://models/old/dogs.h5"}],
            ),
        ]
        | None
    ) = None
    trainable_layers: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=10_000,
                description=(
                    "Number of layers with weights, counted from the end, that learn; those before them stay as they "
                    "began. Left out: all learn."
                ),
                examples=[1],
            ),
        ]
        | None
    ) = None
    fine_tuning: (
        Annotated[
            FineTuning,
            Meta(
                description=(
                    "Two phases: the last layer learns alone first, then the last trainableLayers, or all, by a lower "
                    "learning rate. Layers of batch normalisation stay as they came, and earlyStopping counts from the "
                    "second phase on. Left out: one phase."
                ),
                examples=[{"headEpochs": 3, "learningRate": 0.0001}],
            ),
        ]
        | None
    ) = None
    optimizer: Annotated[
        Optimizer,
        Meta(description="The optimizer and its learning rate.", examples=[{"name": "sgd", "learningRate": 0.01}]),
    ] = Optimizer()
    loss: (
        Annotated[
            Loss,
            Meta(
                description=(
                    "Name of a Keras loss. Those of a number are of its distance in standard deviations of the "
                    "training rows, but mean_absolute_percentage_error, mean_squared_logarithmic_error and poisson of "
                    "the number itself. Left out: categorical_crossentropy, or mean_squared_error if the target is a "
                    "number."
                ),
                examples=["categorical_focal_crossentropy"],
            ),
        ]
        | None
    ) = None
    loss_parameters: (
        Annotated[
            LossParameters,
            Meta(
                description="Parameters of the loss. Left out: as in Keras.",
                examples=[{"gamma": 3, "alpha": 0.5}],
            ),
        ]
        | None
    ) = None
    label_smoothing: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description=(
                "Fraction of each label that is spread over all classes, from 0 to below 1; for a categorical "
                "crossentropy, or a binary one, which spreads it over yes and no."
            ),
            examples=[0.1],
        ),
    ] = 0.0
    metrics: Annotated[
        tuple[TrainingMetric, ...],
        Meta(
            max_length=8,
            description=(
                "Metrics of Keras to measure beside accuracy and loss: after each epoch, and on the test images of the "
                "finished version, where gates can ask for them by name; precision and recall in a gate are of one "
                "class. Left out: none."
            ),
            examples=[[{"name": "auc"}, {"name": "top_k_categorical_accuracy", "k": 3}]],
            extra=ruled(EACH_ONCE),
        ),
    ] = ()
    jit_compile: (
        Annotated[
            bool,
            Meta(
                description="Compile each step with XLA (true) or never (false). Left out: Keras decides.",
                examples=[True],
            ),
        ]
        | None
    ) = None
    mixed_precision: (
        Annotated[
            MixedPrecision,
            Meta(
                description=(
                    "Policy of Keras to train by: layers compute in 16 bits, weights and answers have 32. Quicker on "
                    "devices made for it, and slower on most CPUs; mixed_float16 scales the loss as Keras does. What "
                    "is evaluated and published computes in 32 bits. Left out: 32 bits everywhere."
                ),
                examples=["mixed_bfloat16"],
            ),
        ]
        | None
    ) = None
    tflite: Annotated[
        bool,
        Meta(
            description=(
                "Publish the model as a TFLite file beside the SavedModel, too (assets.extra/model.tflite): 32-bit "
                "floats, compared with the SavedModel on test images."
            ),
            examples=[True],
        ),
    ] = False
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
                "Number that seeds every random choice: the first weights, the order, the augmentation. The split "
                "depends on the files alone."
            ),
            examples=[7],
        ),
    ] = 42
    augmentation: Annotated[
        Augmentation,
        Meta(
            description="Random changes to the training images. Left out: none.",
            examples=[{"rotation": 20, "horizontalFlip": True}],
        ),
    ] = Augmentation()
    normalization: (
        Annotated[
            Normalization,
            Meta(
                description=(
                    "What the network does to every image first, as Keras' ImageDataGenerator does; it takes the place "
                    "of the scaling that a network of keras.applications gets here. Left out: levels from 0 to 1, and "
                    "that scaling."
                ),
                examples=[{"featurewiseCenter": True, "featurewiseStdNormalization": True}],
            ),
        ]
        | None
    ) = None
    early_stopping: (
        Annotated[
            EarlyStopping,
            Meta(
                description="Stop before the last epoch when nothing gets better. Left out: every epoch is run.",
                examples=[{"monitor": "val_loss", "patience": 5}],
            ),
        ]
        | None
    ) = None
    reduce_on_plateau: (
        Annotated[
            ReduceOnPlateau,
            Meta(
                description="Lower the learning rate when nothing gets better. Left out: it stays as it is.",
                examples=[{"monitor": "val_loss", "factor": 0.5, "patience": 2}],
            ),
        ]
        | None
    ) = None
    stop_at: (
        Annotated[
            StopAt,
            Meta(
                description="Stop as soon as a metric is good enough. Left out: nothing is good enough.",
                examples=[{"monitor": "val_accuracy", "value": 0.95}],
            ),
        ]
        | None
    ) = None
    max_duration_seconds: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=2_592_000,
                description=(
                    "Seconds of training, all pods of the run together, after which it ends in good order with the "
                    "best epoch so far. Left out: every epoch is run."
                ),
                examples=[1800],
            ),
        ]
        | None
    ) = None
    checkpoint: Annotated[
        Checkpoint,
        Meta(
            description="How often the state is kept in the store, for another pod to go on with.",
            examples=[{"everySeconds": 60}],
        ),
    ] = Checkpoint()
    deterministic: Annotated[
        bool,
        Meta(
            description=(
                "Compute so that the same inputs give the same weights, bit for bit, on the same kind of machine with "
                "as many processors; slower."
            ),
            examples=[True],
        ),
    ] = False
    resources: Annotated[
        Resources,
        Meta(
            description="CPU, memory and devices of the container that trains. Left out: what the namespace allows.",
            examples=[{"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}],
        ),
    ] = Resources()
    workers: Workers = 1
    gpus_per_worker: GpusPerWorker = 0
    node_selector: NodeSelector = msgspec.field(default_factory=dict)
    tolerations: Tolerations = ()
    priority_class_name: PriorityClassName | None = None
    queue_name: QueueName | None = None
    active_deadline_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=2_592_000,
            description="Seconds, from 60 to 2592000 (30 days), after which the training is stopped and has failed.",
            examples=[3600],
        ),
    ] = 86_400

    @property
    def learns_number(self) -> bool:
        """Whether it learns a number for each row, and not a class."""
        return learns_number(self)

    @property
    def gpus(self) -> int:
        """The number of GPUs that each worker is given, wherever it is written."""
        return self.gpus_per_worker or int(self.resources.limits.get(GPU, 0))

    @property
    def objective(self) -> Loss:
        """The loss that is made smaller, also where none is written."""
        return self.loss or self.default_loss

    @property
    def default_loss(self) -> Loss:
        """The loss where none is written."""
        return DEFAULT_OF_NUMBERS if self.learns_number else Loss.CATEGORICAL_CROSSENTROPY

    RULES: ClassVar[tuple[Rule, ...]] = (
        *_images_are_large_enough(),
        *RULES_OF_COURSE,
        GPUS_ARE_WRITTEN_ONCE,
        GPUS_ARE_USED,
        EVERY_WORKER_HAS_WORK,
        WORKERS_ARE_NOT_COMPILED,
        *RULES_OF_TRAINING,
        _mixes_labels("mixup"),
        _mixes_labels("cutmix"),
        OF_ONE_HOT,
        *RULES_OF_TARGET,
        *RULES_OF_LOSS,
        *RULES_OF_FINE_TUNING,
        *rules_of_container(
            ("architecture", Architecture),
            ("optimizer", Optimizer),
            ("augmentation", Augmentation),
            ("checkpoint", Checkpoint),
        ),
        Rule(
            cel="!has(self.labelSmoothing) || self.labelSmoothing == 0.0 || (has(self.loss) ? "
            f"self.loss in {named(OF_SMOOTH_LABELS)} : "
            "!has(self.data.table) || self.data.table.targetKind != 'numeric')",
            message=(f"is for the losses {listed(OF_SMOOTH_LABELS)}: remove it, or choose one of those in loss"),
            holds=lambda training: training.label_smoothing == 0 or training.objective in OF_SMOOTH_LABELS,
            field=".labelSmoothing",
        ),
        Rule(
            cel="!has(self.trainableLayers) || has(self.initialWeights) || self.architecture.weights == 'imagenet'",
            message=(
                "layers that do not learn would keep random weights: write initialWeights or architecture.weights: "
                "imagenet, or remove trainableLayers"
            ),
            holds=lambda training: (
                training.trainable_layers is None
                or training.initial_weights is not None
                or training.architecture.weights is PretrainedWeights.IMAGENET
            ),
            field=".trainableLayers",
        ),
        Rule(
            cel="!has(self.initialWeights) || self.architecture.weights == 'none'",
            message=(
                "architecture.weights and initialWeights both say where to start from: keep initialWeights for a file "
                "or a version, or architecture.weights for ImageNet"
            ),
            holds=lambda training: (
                training.initial_weights is None or training.architecture.weights is PretrainedWeights.NONE
            ),
            field=".architecture.weights",
        ),
        Rule(
            cel="!has(self.optimizer.schedule) || !has(self.reduceOnPlateau)",
            message="a schedule and reduceOnPlateau both set the learning rate: keep one of them",
            holds=lambda training: training.optimizer.schedule is None or training.reduce_on_plateau is None,
            field=".reduceOnPlateau",
        ),
        Rule(
            cel=f"!has(self.builder) || self.architecture.name == '{Architecture().name}'",
            message=(
                "architecture and builder are both written: keep builder for a network of your own, or architecture "
                "for one by name, and remove the other"
            ),
            holds=lambda training: training.builder is None or training.architecture == Architecture(),
            field=".architecture.name",
        ),
    )
