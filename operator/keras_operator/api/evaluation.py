"""What a version must reach before it may serve."""

from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .course import LARGEST_ERROR
from .metrics import ANSWERS_OF_NUMBERS, FRACTIONS, MORE_IS_BETTER, MetricName
from .rules import Rule, ruled
from .wire import Written


class Metric(StrEnum):
    """What is measured of every version.

    On the test images, on one class of them, on the servable, or (`val_`) on the validation images.
    """

    ACCURACY = "accuracy"
    ACCURACY_LOW = "accuracy_low"
    TOP_5_ACCURACY = "top_5_accuracy"
    MACRO_F1 = "macro_f1"
    ECE = "ece"
    LOSS = "loss"
    MAE = "mae"
    MAE_HIGH = "mae_high"
    RMSE = "rmse"
    RMSE_HIGH = "rmse_high"
    R2 = "r2"
    R2_LOW = "r2_low"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    LATENCY_MS = "latency_ms"
    SIZE_MB = "size_mb"
    VAL_ACCURACY = "val_accuracy"
    VAL_LOSS = "val_loss"
    # By training.metrics alone; precision and recall are of one class here.
    AUC = "auc"
    CATEGORICAL_CROSSENTROPY = "categorical_crossentropy"
    CATEGORICAL_HINGE = "categorical_hinge"
    COSINE_SIMILARITY = "cosine_similarity"
    F1_SCORE = "f1_score"
    F_BETA_SCORE = "f_beta_score"
    FALSE_NEGATIVES = "false_negatives"
    FALSE_POSITIVES = "false_positives"
    KL_DIVERGENCE = "kl_divergence"
    LOG_COSH_ERROR = "log_cosh_error"
    MEAN_ABSOLUTE_ERROR = "mean_absolute_error"
    MEAN_ABSOLUTE_PERCENTAGE_ERROR = "mean_absolute_percentage_error"
    MEAN_SQUARED_ERROR = "mean_squared_error"
    MEAN_SQUARED_LOGARITHMIC_ERROR = "mean_squared_logarithmic_error"
    POISSON = "poisson"
    PRECISION_AT_RECALL = "precision_at_recall"
    R2_SCORE = "r2_score"
    RECALL_AT_PRECISION = "recall_at_precision"
    ROOT_MEAN_SQUARED_ERROR = "root_mean_squared_error"
    SENSITIVITY_AT_SPECIFICITY = "sensitivity_at_specificity"
    SPECIFICITY_AT_SENSITIVITY = "specificity_at_sensitivity"
    TOP_K_CATEGORICAL_ACCURACY = "top_k_categorical_accuracy"
    TRUE_NEGATIVES = "true_negatives"
    TRUE_POSITIVES = "true_positives"


OF_CLASS = frozenset({Metric.PRECISION, Metric.RECALL, Metric.F1})
"""Metrics of one class."""
OF_SERVABLE = frozenset({Metric.LATENCY_MS, Metric.SIZE_MB})
"""Metrics of the exported model."""
_ERRORS = (Metric.MAE, Metric.MAE_HIGH, Metric.RMSE, Metric.RMSE_HIGH)
OF_NUMBER = (*_ERRORS, Metric.R2, Metric.R2_LOW)
"""Metrics of a target that is a number."""
OF_ANYTHING = (Metric.LOSS, Metric.VAL_LOSS, *sorted(OF_SERVABLE))
"""Metrics that are of no kind of target."""
OF_KERAS = tuple(Metric(name) for name in MetricName if Metric(name) not in OF_CLASS)
"""Metrics that are measured where training.metrics asks for them."""
OF_KERAS_AND_NUMBER = tuple(Metric(name) for name in ANSWERS_OF_NUMBERS)
"""Those of them that a target that is a number can be measured by."""
_NO_FRACTIONS = (
    Metric.LOSS,
    Metric.VAL_LOSS,
    *sorted(OF_SERVABLE),
    *_ERRORS,
    *(metric for metric in OF_KERAS if MetricName(metric) not in FRACTIONS),
)
_FRACTIONS = tuple(metric for metric in Metric if metric not in _NO_FRACTIONS)
_LESS_IS_BETTER = frozenset(
    {Metric.ECE, Metric.LOSS, *_ERRORS, *(metric for metric in OF_KERAS if MetricName(metric) not in MORE_IS_BETTER)}
)
# What both versions are measured by on the same test images.
_COMPARABLE = (
    Metric.ACCURACY,
    Metric.ACCURACY_LOW,
    Metric.TOP_5_ACCURACY,
    Metric.MACRO_F1,
    Metric.ECE,
    Metric.LOSS,
    *OF_NUMBER,
    *OF_KERAS,
)
# A Job's answer has 4,000 bytes, and a class's name up to 256.
_MOST_OF_CLASSES = 8

_Bound = Annotated[float, Meta(ge=0, le=LARGEST_ERROR)]


def _names(metrics: tuple[Metric, ...]) -> list[str]:
    return [str(metric) for metric in metrics]


class Gate(Written, frozen=True, kw_only=True):
    """One bar that a version must reach."""

    metric: Annotated[
        Metric,
        Meta(
            description=(
                "What is measured. On the test images: accuracy, accuracy_low (the lower end of its 95 % confidence "
                "interval), top_5_accuracy (with six classes or more), macro_f1 (the mean F1 of the classes), ece (the "
                "expected calibration error) and loss; precision, recall and f1 of one class; of a target that is a "
                "number, in its unit, mae and rmse, the mean absolute and the root mean squared error, and r2, the "
                "part of its variance that is explained, with mae_high, rmse_high and r2_low, the worse ends of their "
                "intervals. Of the servable: "
                "latency_ms (the median milliseconds for one image, where it is exported) and size_mb (megabytes of "
                "its files). On the validation images: val_accuracy and val_loss. All these but losses, errors, "
                "milliseconds and megabytes are fractions. The others are metrics of Keras on the test images, which "
                "training.metrics must name."
            ),
            examples=["accuracy"],
        ),
    ]
    of_class: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=64,
                description=(
                    "The class that precision, recall or f1 is of, as its folder is called. Left out: the metric is of "
                    "all classes."
                ),
                examples=["beagle"],
            ),
        ]
        | None
    ) = msgspec.field(name="class", default=None)
    min: (
        Annotated[
            _Bound,
            Meta(
                description=(
                    "The metric must be at least this number, in the metric's unit, at most 1000000000. Left out: "
                    "no lower bound."
                ),
                examples=[0.85],
            ),
        ]
        | None
    ) = None
    max: (
        Annotated[
            _Bound,
            Meta(
                description=(
                    "The metric must be at most this number, in the metric's unit, at most 1000000000. Left out: "
                    "no upper bound."
                ),
                examples=[0.5],
            ),
        ]
        | None
    ) = None
    max_drop_from_serving: (
        Annotated[
            _Bound,
            Meta(
                description=(
                    "The metric may be worse by at most this number, in the metric's unit, than that of the version "
                    "that served when its run began, measured on the same test images. Met where nothing served. "
                    "Left out: the two are not held against each other."
                ),
                examples=[0.01],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.min) || has(self.max) || has(self.maxDropFromServing)",
            message=("min, max or maxDropFromServing is missing: write for example {metric: accuracy, min: 0.85}"),
            holds=lambda gate: (gate.min, gate.max, gate.max_drop_from_serving) != (None, None, None),
        ),
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be above max, or no version could ever meet this gate: lower min or raise max",
            holds=lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
        ),
        Rule(
            cel=(
                f"self.metric in {_names(_NO_FRACTIONS)} || "
                "((!has(self.min) || self.min <= 1.0) && (!has(self.max) || self.max <= 1.0) && "
                "(!has(self.maxDropFromServing) || self.maxDropFromServing <= 1.0))"
            ),
            message="this metric is a fraction from 0 to 1: write 0.85 for 85 %",
            holds=lambda gate: (
                gate.metric not in _FRACTIONS
                or all(bound is None or bound <= 1 for bound in (gate.min, gate.max, gate.max_drop_from_serving))
            ),
        ),
        Rule(
            cel=f"has(self.class) == (self.metric in {_names(tuple(sorted(OF_CLASS)))})",
            message=(
                "precision, recall and f1 are of one class, and nothing else is: write both, such as {metric: recall, "
                "class: beagle, min: 0.8}, or macro_f1 for all classes"
            ),
            holds=lambda gate: (gate.of_class is not None) == (gate.metric in OF_CLASS),
        ),
        Rule(
            cel=f"!has(self.maxDropFromServing) || self.metric in {_names(_COMPARABLE)}",
            message=(
                "maxDropFromServing goes with what both versions are measured by on the same test images: accuracy, "
                "accuracy_low, top_5_accuracy, macro_f1, ece, loss, mae, rmse, r2 or one of training.metrics; write "
                "min or max for this metric"
            ),
            holds=lambda gate: gate.max_drop_from_serving is None or gate.metric in _COMPARABLE,
        ),
    )

    @property
    def measured(self) -> str:
        """What is held against the bounds, as it is called in a status: `accuracy`, or `recall of beagle`."""
        return f"{self.metric} of {self.of_class}" if self.of_class is not None else str(self.metric)

    @property
    def known_after_export(self) -> bool:
        """Whether only the export can tell: what is of a class or of the servable is no part of training's answer."""
        return self.metric in OF_CLASS or self.metric in OF_SERVABLE

    @property
    def less_is_better(self) -> bool:
        """Whether a version with a higher value is worse."""
        return self.metric in _LESS_IS_BETTER


def _meet_together(gates: tuple[Gate, ...]) -> bool:
    return not any(
        one.measured == other.measured and one.min is not None and other.max is not None and one.min > other.max
        for one in gates
        for other in gates
        if one is not other
    )


_MEET_TOGETHER = Rule(
    # A gate that contradicts itself has a sentence of its own.
    cel=(
        "self.all(one, !has(one.min) || has(one.max) && one.min > one.max || self.all(other, "
        "one.metric != other.metric || !has(other.max) || has(other.min) && other.min > other.max || "
        "one.min <= other.max || has(one.class) && has(other.class) && one.class != other.class))"
    ),
    message=(
        "two gates for one metric contradict each other, the min of one being above the max of the other: no version "
        "could ever meet both, so lower the min or raise the max"
    ),
    holds=_meet_together,
)

_FEW_CLASSES = Rule(
    cel=f"self.filter(gate, has(gate.class)).size() <= {_MOST_OF_CLASSES}",
    message=(
        f"more than {_MOST_OF_CLASSES} gates name a class: keep the classes that matter most, and write macro_f1 for "
        "all of them together"
    ),
    holds=lambda gates: sum(gate.of_class is not None for gate in gates) <= _MOST_OF_CLASSES,
)


class Evaluation(Written, frozen=True, kw_only=True):
    """What a version must reach before it is published and may serve."""

    gates: Annotated[
        tuple[Gate, ...],
        Meta(
            max_length=16,
            description=(
                "Every gate must be met, or the version is rejected and what serves goes on serving; at most 16. "
                "Left out: every version may serve."
            ),
            examples=[[{"metric": "accuracy", "min": 0.85}]],
            extra=ruled(_MEET_TOGETHER, _FEW_CLASSES),
        ),
    ] = ()
