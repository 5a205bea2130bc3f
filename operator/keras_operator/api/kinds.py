"""The two kinds as the API server knows them: names, columns, subresources, and rules about the whole object."""

from dataclasses import dataclass

import msgspec

from .kerasmodel import KerasModelSpec
from .rules import Rule
from .status import KerasModelStatus
from .version import KerasModelVersionSpec, KerasModelVersionStatus

GROUP = "keras-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; `wide` ones are shown with `-o wide`. `kind` is string, integer or date."""

    name: str
    path: str
    description: str
    kind: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Scale:
    """Where `kubectl scale` and autoscalers read and write."""

    wanted: str
    actual: str
    selector: str


@dataclass(frozen=True)
class Kind:
    """One kind of object."""

    name: str
    plural: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...]
    description: str
    spec: type[msgspec.Struct]
    status: type[msgspec.Struct]
    rules: tuple[Rule, ...]
    columns: tuple[Column, ...]
    scale: Scale | None = None
    selectable: tuple[str, ...] = ()

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


_AGE = Column("Age", ".metadata.creationTimestamp", "Time since it was made.", kind="date")


def _never_changes(fact: str, why: str, when: str = "true") -> Rule:
    """What a version's status says once stays as it is, whoever writes: a change would make the record lie."""
    return Rule(
        cel=(
            f"!has(oldSelf.status) || !has(oldSelf.status.{fact}) || !({when}) || has(self.status) && "
            f"has(self.status.{fact}) && self.status.{fact} == oldSelf.status.{fact}"
        ),
        message=f"never changes {why}",
        field=f".status.{fact}",
    )


KERAS_MODEL = Kind(
    name="KerasModel",
    plural="kerasmodels",
    short_names=("km", "kmodel"),
    categories=("all",),
    description=(
        "A Keras model from data to predictions: trained (or brought along), evaluated, published as numbered versions "
        "in a store, and served."
    ),
    spec=KerasModelSpec,
    status=KerasModelStatus,
    rules=(
        Rule(
            # The longest name of a child is <name>-<number>-export, which must stay below the 63 characters of a label.
            cel="self.metadata.name.matches(r'^[a-z]([-a-z0-9]{0,43}[a-z0-9])?$')",
            message=(
                "metadata.name must be lower-case letters, digits and '-', start with a letter, end with a letter or "
                "digit, and have at most 45 characters, because names of Services and Jobs are made from it: such as "
                "dog-classifier"
            ),
        ),
        Rule(
            cel=(
                "!has(oldSelf.status) || !has(oldSelf.status.latestVersion) || has(self.status) && "
                "has(self.status.latestVersion) && self.status.latestVersion >= oldSelf.status.latestVersion"
            ),
            message="never goes down, because a version's number is never used again: keep what was there",
            field=".status.latestVersion",
        ),
    ),
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether predictions are answered as wanted."),
        Column("Phase", ".status.phase", "What is going on, in one word."),
        Column("Serving", ".status.servingVersion", "The version that answers predictions.", kind="integer"),
        Column("Latest", ".status.latestVersion", "The newest version.", kind="integer"),
        Column("Accuracy", ".status.accuracy", "Accuracy on the test images."),
        Column("Replicas", ".status.replicas", "Pods that serve.", kind="integer"),
        _AGE,
        Column("Message", ".status.message", "What is going on, in a sentence.", wide=True),
        Column("URL", ".status.url", "Where predictions are answered.", wide=True),
        Column("MAE", ".status.mae", "Mean absolute error on the test rows, where a number is learned.", wide=True),
    ),
    scale=Scale(wanted=".spec.serving.replicas", actual=".status.replicas", selector=".status.selector"),
)

KERAS_MODEL_VERSION = Kind(
    name="KerasModelVersion",
    plural="kerasmodelversions",
    short_names=("kmv",),
    categories=(),
    description=(
        "One immutable attempt to produce a servable model, made by the operator for a KerasModel: what it was made "
        "from, how it did, and what was published."
    ),
    spec=KerasModelVersionSpec,
    status=KerasModelVersionStatus,
    rules=(
        Rule(
            cel="self.metadata.name == '%s-%d'.format([self.spec.modelName, self.spec.number])",
            message="metadata.name must be <spec.modelName>-<spec.number>: the operator makes versions, people do not",
            says=(
                "'metadata.name must be %s-%d, after spec.modelName and spec.number: the operator makes versions, "
                "people do not'.format([self.spec.modelName, self.spec.number])"
            ),
        ),
        _never_changes(
            "phase",
            "once a version is Published or Failed: delete the version, and the operator makes the next one",
            "oldSelf.status.phase in ['Published', 'Failed']",
        ),
        _never_changes("servable", "because it was published and others may have fetched it: make the next version"),
        _never_changes(
            "metrics", "because they were measured: make the next version", "size(oldSelf.status.metrics) > 0"
        ),
        _never_changes("images", "because they were counted: make the next version"),
    ),
    columns=(
        Column("Phase", ".status.phase", "How far it is."),
        Column("Accuracy", ".status.metrics.accuracy", "Accuracy on the test images."),
        _AGE,
        Column("Model", ".spec.modelName", "The KerasModel that it belongs to.", wide=True),
        Column(
            "Parent",
            ".spec.training.initialWeights.version",
            "The version whose weights it started from.",
            kind="integer",
            wide=True,
        ),
        Column(
            "MAE", ".status.metrics.mae", "Mean absolute error on the test rows, where a number is learned.", wide=True
        ),
        Column("Bytes", ".status.servable.bytes", "Size of what was published.", kind="integer", wide=True),
        Column("Why", ".spec.reason", "Why it was made.", wide=True),
        Column("Message", ".status.message", "What is going on, in a sentence.", wide=True),
    ),
    selectable=(".spec.modelName",),
)

KINDS = (KERAS_MODEL, KERAS_MODEL_VERSION)
