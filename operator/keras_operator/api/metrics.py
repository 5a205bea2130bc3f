"""What is measured of each epoch beside accuracy and loss: Keras' own metrics, by the names of its `metrics.get`."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .losses import OF_CLASS_INDICES, named
from .names import camel, listed
from .rules import Rule
from .wire import Written


class MetricName(StrEnum):
    """Metrics of Keras that are one number of one-hot labels and probabilities, or of true and answered numbers."""

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
    PRECISION = "precision"
    PRECISION_AT_RECALL = "precision_at_recall"
    R2_SCORE = "r2_score"
    RECALL = "recall"
    RECALL_AT_PRECISION = "recall_at_precision"
    ROOT_MEAN_SQUARED_ERROR = "root_mean_squared_error"
    SENSITIVITY_AT_SPECIFICITY = "sensitivity_at_specificity"
    SPECIFICITY_AT_SENSITIVITY = "specificity_at_sensitivity"
    TOP_K_CATEGORICAL_ACCURACY = "top_k_categorical_accuracy"
    TRUE_NEGATIVES = "true_negatives"
    TRUE_POSITIVES = "true_positives"


class Average(StrEnum):
    """How a score of each class becomes one number."""

    MACRO = "macro"
    MICRO = "micro"
    WEIGHTED = "weighted"


class Curve(StrEnum):
    """The curve that an area is under."""

    ROC = "ROC"
    PR = "PR"


_M = MetricName
_COUNTS = (_M.FALSE_NEGATIVES, _M.FALSE_POSITIVES, _M.TRUE_NEGATIVES, _M.TRUE_POSITIVES)
_F_SCORES = (_M.F1_SCORE, _M.F_BETA_SCORE)
_AT = {
    _M.PRECISION_AT_RECALL: "recall",
    _M.RECALL_AT_PRECISION: "precision",
    _M.SENSITIVITY_AT_SPECIFICITY: "specificity",
    _M.SPECIFICITY_AT_SENSITIVITY: "sensitivity",
}

TAKERS: dict[str, tuple[MetricName, ...]] = {
    "k": (_M.TOP_K_CATEGORICAL_ACCURACY,),
    "threshold": (_M.F1_SCORE, _M.F_BETA_SCORE, *_COUNTS[:2], _M.PRECISION, _M.RECALL, *_COUNTS[2:]),
    "average": _F_SCORES,
    "beta": (_M.F_BETA_SCORE,),
    "curve": (_M.AUC,),
    "multi_label": (_M.AUC,),
    "num_thresholds": (_M.AUC, *_AT),
    **{parameter: (name,) for name, parameter in _AT.items()},
}
"""Which metrics take a parameter."""

ANSWERS_OF_NUMBERS_ALONE = (
    _M.LOG_COSH_ERROR,
    _M.MEAN_ABSOLUTE_PERCENTAGE_ERROR,
    _M.MEAN_SQUARED_LOGARITHMIC_ERROR,
    _M.R2_SCORE,
)
ANSWERS_OF_NUMBERS = (
    _M.COSINE_SIMILARITY,
    _M.MEAN_ABSOLUTE_ERROR,
    _M.MEAN_SQUARED_ERROR,
    _M.ROOT_MEAN_SQUARED_ERROR,
    *ANSWERS_OF_NUMBERS_ALONE,
)
"""Metrics of a target that is a number.

Keras' `poisson` is not among them: most networks may answer below 0, of which there is no logarithm. Its correlations
are of several numbers a row, or of one batch.
"""

FRACTIONS = frozenset(
    {
        _M.AUC,
        *_F_SCORES,
        _M.PRECISION,
        _M.RECALL,
        *_AT,
        _M.TOP_K_CATEGORICAL_ACCURACY,
        _M.COSINE_SIMILARITY,
        _M.R2_SCORE,
    }
)
"""Metrics up to 1, of which more is better."""
MORE_IS_BETTER = FRACTIONS | {_M.TRUE_NEGATIVES, _M.TRUE_POSITIVES}
"""All metrics of which more is better."""

_Part = Annotated[float, Meta(ge=0, le=1)]


def _only_for(parameter: str, takers: tuple[MetricName, ...]) -> Rule:
    field = camel(parameter)
    return Rule(
        cel=f"!has(self.{field}) || self.name in {[str(name) for name in takers]}",
        message=f"is a parameter of {listed(tuple(map(str, takers)))}: remove it",
        holds=lambda metric: getattr(metric, parameter) is None or metric.name in takers,
        field=f".{field}",
    )


def _at(name: MetricName, parameter: str) -> Rule:
    return Rule(
        cel=f"self.name != '{name}' || has(self.{parameter})",
        message=f"{name} is measured where {parameter} has a value: write {parameter}, such as 0.9",
        holds=lambda metric: metric.name is not name or getattr(metric, parameter) is not None,
    )


class TrainingMetric(Written, frozen=True, kw_only=True):
    """One metric of Keras; what is left out is as in Keras."""

    name: Annotated[
        MetricName,
        Meta(description="Name that keras.metrics.get takes; the metric's name everywhere.", examples=["auc"]),
    ]
    k: (
        Annotated[
            int,
            Meta(ge=1, le=10_000, description="Classes that the right one must be among. Left out: 5.", examples=[3]),
        ]
        | None
    ) = None
    threshold: (
        Annotated[
            float,
            Meta(
                gt=0,
                lt=1,
                description=(
                    "Probability, a number between 0 and 1, above which a class counts as predicted. Left out: 0.5; "
                    "of f1_score and f_beta_score, the most probable class counts."
                ),
                examples=[0.8],
            ),
        ]
        | None
    ) = None
    average: (
        Annotated[
            Average,
            Meta(
                description=(
                    "The mean of the classes' scores (macro), weighted by their images (weighted), or the score of all "
                    "images together (micro). Left out: macro."
                ),
                examples=["weighted"],
            ),
        ]
        | None
    ) = None
    beta: (
        Annotated[
            float,
            Meta(gt=0, le=100, description="Times that recall counts as much as precision. Left out: 1.", examples=[2]),
        ]
        | None
    ) = None
    curve: (
        Annotated[Curve, Meta(description="Curve that the area is under. Left out: ROC.", examples=["PR"])] | None
    ) = None
    multi_label: (
        Annotated[
            bool,
            Meta(
                description=(
                    "The mean of the areas of each class against all others (true), or one area of all answers. Left "
                    "out: false."
                ),
                examples=[True],
            ),
        ]
        | None
    ) = None
    num_thresholds: (
        Annotated[
            int,
            Meta(ge=2, le=10_000, description="Number of points that the curve has. Left out: 200.", examples=[500]),
        ]
        | None
    ) = None
    recall: (
        Annotated[
            _Part,
            Meta(
                description="Recall, a fraction from 0 to 1, for precision_at_recall. Left out: not used.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    precision: (
        Annotated[
            _Part,
            Meta(
                description="Precision, a fraction from 0 to 1, for recall_at_precision. Left out: not used.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    specificity: (
        Annotated[
            _Part,
            Meta(
                description="Specificity, a fraction from 0 to 1, for sensitivity_at_specificity. Left out: not used.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None
    sensitivity: (
        Annotated[
            _Part,
            Meta(
                description="Sensitivity, a fraction from 0 to 1, for specificity_at_sensitivity. Left out: not used.",
                examples=[0.9],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        *(_only_for(parameter, takers) for parameter, takers in TAKERS.items()),
        *(_at(name, parameter) for name, parameter in _AT.items()),
    )


EACH_ONCE = Rule(
    cel="self.all(one, self.exists_one(other, other.name == one.name))",
    message="a metric is there twice, and both would have one name: remove one of them",
    holds=lambda metrics: len({metric.name for metric in metrics}) == len(metrics),
)
"""Of a training's metrics: each has a name of its own."""

OF_ONE_HOT = Rule(
    cel="!has(self.metrics) || size(self.metrics) == 0 || !has(self.loss) || "
    f"!(self.loss in {named(OF_CLASS_INDICES)})",
    message=(
        f"are of labels with one number for each class, which {listed(OF_CLASS_INDICES)} do not take: write loss: "
        "categorical_crossentropy, or leave metrics out"
    ),
    holds=lambda training: not training.metrics or training.loss not in OF_CLASS_INDICES,
    field=".metrics",
)
"""Of a training."""
