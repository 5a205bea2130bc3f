"""`KerasModel`: what people write."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from .evaluation import (
    OF_ANYTHING,
    OF_KERAS,
    OF_KERAS_AND_NUMBER,
    OF_NUMBER,
    OF_SERVABLE,
    Evaluation,
    Metric,
)
from .names import snake
from .own_container import NO_TENSORBOARD
from .rules import Rule
from .serving import Serving
from .source import Source
from .store import Store
from .tensorboard import TensorBoard
from .training import Training
from .wire import Written


def _as_folder(uri: str) -> str:
    return uri.removesuffix("/") + "/"


def _gates_are_measured(spec: "KerasModelSpec") -> bool:
    measured = {str(metric.name) for metric in spec.training.metrics} if spec.training else set()
    return all(gate.metric not in OF_KERAS or str(gate.metric) in measured for gate in spec.evaluation.gates)


def _gates_are_of_the_target(spec: "KerasModelSpec", *, numeric: bool) -> bool:
    if spec.training is None or spec.training.learns_number is not numeric:
        return True
    metrics = {gate.metric for gate in spec.evaluation.gates}
    return metrics <= {*OF_NUMBER, *OF_KERAS_AND_NUMBER, *OF_ANYTHING} if numeric else not metrics & {*OF_NUMBER}


def _compares_classes(spec: "KerasModelSpec") -> bool:
    canary = spec.serving.rollout.canary
    return canary is not None and canary.analysis.prediction_drift is not None


_GATES = "!has(self.training) || !has(self.evaluation) || !has(self.evaluation.gates)"
_NUMERIC = "has(self.training.data.table) && self.training.data.table.targetKind == 'numeric'"


def _not_in_the_store(path: str, optional: tuple[str, ...]) -> tuple[Rule, Rule]:
    """A folder of data and the store: neither may lie in the other. `optional` are what may be missing on its path."""
    field = f"self.{path}"
    given = "".join(f"!has(self.{part}) || " for part in optional)
    data = f"({field}.endsWith('/') ? {field} : {field} + '/')"
    store = "(self.store.uri.endsWith('/') ? self.store.uri : self.store.uri + '/')"

    def folders(spec: "KerasModelSpec") -> tuple[str, str] | None:
        found: Any = spec
        for name in path.split("."):
            found = None if found is None else getattr(found, snake(name))
        return None if found is None else (_as_folder(found), _as_folder(spec.store.uri))

    def store_is_elsewhere(spec: "KerasModelSpec") -> bool:
        both = folders(spec)
        return both is None or not both[1].startswith(both[0])

    def data_is_elsewhere(spec: "KerasModelSpec") -> bool:
        both = folders(spec)
        return both is None or both[0] == both[1] or not both[0].startswith(both[1])

    return (
        Rule(
            cel=f"{given}!{store}.startsWith({data})",
            message=(
                f"must not be {path} or lie below it, or published versions would be taken for classes of images: name "
                "another folder"
            ),
            holds=store_is_elsewhere,
            field=".store.uri",
        ),
        Rule(
            cel=f"{given}{data} == {store} || !{data}.startsWith({store})",
            message=(
                "must not lie below store.uri, where folders are versions and belong to the operator: name a folder "
                "elsewhere"
            ),
            holds=data_is_elsewhere,
            field=f".{path}",
        ),
    )


def _gates_of_a_source() -> tuple[Rule, ...]:
    """What can be known of a model that was trained elsewhere: of its files always, of its answers by a test set."""
    files = tuple(sorted(OF_SERVABLE))
    trainings = (Metric.VAL_ACCURACY, Metric.VAL_LOSS, *OF_KERAS)
    of_numbers = (*OF_NUMBER, Metric.LOSS, *files)
    gates = "self.evaluation.gates"
    test = "self.source.testData"
    numeric = f"has({test}.table) && {test}.table.targetKind == 'numeric'"
    none = f"!has(self.source) || !has(self.evaluation) || !has({gates}) || "

    def holds_untested(spec: "KerasModelSpec") -> bool:
        untested = spec.source is not None and spec.source.test_data is None
        return not untested or all(gate.metric in files for gate in spec.evaluation.gates)

    def holds_tested(spec: "KerasModelSpec") -> bool:
        tested = spec.source is not None and spec.source.test_data is not None
        return not tested or all(gate.metric not in trainings for gate in spec.evaluation.gates)

    def holds_of_classes(spec: "KerasModelSpec") -> bool:
        test = spec.source.test_data if spec.source else None
        if test is None or test.has_numbers or test.format == "NPZ":
            return True
        return all(gate.metric not in OF_NUMBER for gate in spec.evaluation.gates)

    def holds_of_numbers(spec: "KerasModelSpec") -> bool:
        test = spec.source.test_data if spec.source else None
        return test is None or not test.has_numbers or all(gate.metric in of_numbers for gate in spec.evaluation.gates)

    return (
        Rule(
            cel=f"{none}has(self.source.testData) || {gates}.all(gate, gate.metric in {[str(one) for one in files]})",
            message=(
                "gates are judged by what a test set shows, and the source has none: name it in source.testData, or "
                "keep gates for latency_ms and size_mb alone"
            ),
            holds=holds_untested,
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"{none}!has(self.source.testData) || "
                f"{gates}.all(gate, !(gate.metric in {[str(one) for one in trainings]}))"
            ),
            message=(
                "a gate asks for what a training alone measures, and a source was trained elsewhere: write accuracy, "
                "accuracy_low, top_5_accuracy, macro_f1, ece, loss, latency_ms or size_mb, or recall of a class"
            ),
            holds=holds_tested,
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"{none}!has({test}) || {test}.format == 'NPZ' || {numeric} || "
                f"!{gates}.exists(gate, gate.metric in {[str(one) for one in OF_NUMBER]})"
            ),
            message=(
                "mae, rmse and r2 are of a number that is answered, and this test set has classes: write "
                "source.testData.table.targetKind: numeric, or a metric of classes such as accuracy"
            ),
            holds=holds_of_classes,
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"{none}!has({test}) || !({numeric}) || "
                f"{gates}.all(gate, gate.metric in {[str(one) for one in of_numbers]})"
            ),
            message=(
                "a gate asks for a metric of classes, and source.testData.table.targetKind is numeric: write one of a "
                "number, such as {metric: r2, min: 0.4} or {metric: mae, max: 50}"
            ),
            holds=holds_of_numbers,
            field=".evaluation.gates",
        ),
    )


class KerasModelSpec(Written, frozen=True, kw_only=True):
    """The wanted state of a model: trained from data, or brought along, then published and served."""

    training: (
        Annotated[
            Training,
            Meta(
                description=(
                    "Train versions from images; exactly one of training and source is written. Left out: source is "
                    "used."
                ),
                examples=[{"data": {"uri": "s3://datasets/dogs"}, "epochs": 20}],
            ),
        ]
        | None
    ) = None
    source: (
        Annotated[
            Source,
            Meta(
                description=(
                    "Serve a model that exists already; exactly one of training and source is written. Left out: "
                    "training is used."
                ),
                examples=[{"uri": "s3://models/uploads/dogs"}],
            ),
        ]
        | None
    ) = None
    evaluation: Annotated[
        Evaluation,
        Meta(
            description="What a version must reach before it may serve. Left out: nothing.",
            examples=[{"gates": [{"metric": "accuracy", "min": 0.85}]}],
        ),
    ] = Evaluation()
    store: Annotated[
        Store,
        Meta(
            description="Where versions are published, and how to get there.",
            examples=[{"uri": "s3://models/dog-classifier", "credentials": {"secretName": "minio-credentials"}}],
        ),
    ]
    serving: Annotated[Serving, Meta(description="How a published version is served.", examples=[{"replicas": 2}])] = (
        Serving()
    )
    tensorboard: (
        Annotated[
            TensorBoard,
            Meta(
                description="TensorBoard for the model's trainings. Left out: none runs.",
                examples=[{"enabled": True}],
            ),
        ]
        | None
    ) = None
    suspend: Annotated[
        bool,
        Meta(
            description=(
                "While true no new version is made and no Job is started; what runs is finished, what serves goes on "
                "serving."
            ),
            examples=[True],
        ),
    ] = False

    @property
    def shows_trainings(self) -> bool:
        """Whether a TensorBoard is wanted."""
        return self.tensorboard is not None and self.tensorboard.enabled

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.training) || !has(self.source)",
            message=(
                "training and source are both written: keep training to train from images, or source to serve a "
                "model that exists already, and remove the other"
            ),
            holds=lambda spec: spec.training is None or spec.source is None,
        ),
        Rule(
            cel="has(self.training) || has(self.source)",
            message=(
                "training or source is missing: write training to train from images, or source to serve a model that "
                "exists already"
            ),
            holds=lambda spec: spec.training is not None or spec.source is not None,
        ),
        *_gates_of_a_source(),
        Rule(
            cel="!has(self.source) || !has(self.tensorboard) || !self.tensorboard.enabled",
            message=(
                "shows how trainings go, and a source is a model that is trained already: remove tensorboard, or write "
                "training instead of source"
            ),
            holds=lambda spec: spec.source is None or not spec.shows_trainings,
            field=".tensorboard",
        ),
        NO_TENSORBOARD,
        Rule(
            cel=(
                "!has(self.training) || !has(self.evaluation) || !has(self.evaluation.gates) || "
                f"self.evaluation.gates.all(gate, !(gate.metric in {[str(metric) for metric in OF_KERAS]}) || "
                "has(self.training.metrics) && self.training.metrics.exists(one, one.name == gate.metric))"
            ),
            message=(
                "a gate asks for a metric of Keras that nothing measures: name it in training.metrics too, such as "
                "metrics: [{name: auc}]"
            ),
            holds=lambda spec: spec.training is None or _gates_are_measured(spec),
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"{_GATES} || !({_NUMERIC}) || self.evaluation.gates.all(gate, gate.metric in "
                f"{[str(metric) for metric in (*OF_NUMBER, *OF_KERAS_AND_NUMBER, *OF_ANYTHING)]})"
            ),
            message=(
                "a gate asks for a metric of classes, and training.data.table.targetKind is numeric: write one of a "
                "number, such as {metric: r2, min: 0.4} or {metric: mae, max: 50}"
            ),
            holds=lambda spec: _gates_are_of_the_target(spec, numeric=True),
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"{_GATES} || ({_NUMERIC}) || !self.evaluation.gates.exists(gate, gate.metric in "
                f"{[str(metric) for metric in OF_NUMBER]})"
            ),
            message=(
                "mae, rmse and r2 are of a target that is a number, and this one has classes: write "
                "training.data.table.targetKind: numeric, or a metric of classes such as accuracy"
            ),
            holds=lambda spec: _gates_are_of_the_target(spec, numeric=False),
            field=".evaluation.gates",
        ),
        Rule(
            cel=(
                f"!has(self.training) || !({_NUMERIC}) || !has(self.serving) || !has(self.serving.rollout) || "
                "!has(self.serving.rollout.canary) || !has(self.serving.rollout.canary.analysis) || "
                "!has(self.serving.rollout.canary.analysis.predictionDrift)"
            ),
            message=(
                "compares classes that are predicted, and training.data.table.targetKind is numeric: remove it, and "
                "errors and latency are compared"
            ),
            holds=lambda spec: spec.training is None or not spec.training.learns_number or not _compares_classes(spec),
            field=".serving.rollout.canary.analysis.predictionDrift",
        ),
        Rule(
            cel="!has(self.training) || !(self.store.uri.endsWith('/') ? self.store.uri : self.store.uri + '/')"
            ".startsWith(self.training.data.uri.endsWith('/') ? self.training.data.uri : self.training.data.uri + '/')",
            message=(
                "must not be training.data.uri or lie below it, or published versions would be taken for classes of "
                "images: name another folder"
            ),
            holds=lambda spec: (
                spec.training is None or not _as_folder(spec.store.uri).startswith(_as_folder(spec.training.data.uri))
            ),
            field=".store.uri",
        ),
        Rule(
            cel="!has(self.training) || self.training.data.uri == self.store.uri || "
            "!self.training.data.uri.startsWith(self.store.uri.endsWith('/') ? self.store.uri : self.store.uri + '/')",
            message=(
                "must not lie below store.uri, where folders are versions and belong to the operator: name a folder "
                "elsewhere"
            ),
            holds=lambda spec: (
                spec.training is None
                or spec.training.data.uri == spec.store.uri
                or not spec.training.data.uri.startswith(_as_folder(spec.store.uri))
            ),
            field=".training.data.uri",
        ),
        Rule(
            cel="!has(self.source) || !(self.store.uri.endsWith('/') ? self.store.uri : self.store.uri + '/')"
            ".startsWith(self.source.uri.endsWith('/') ? self.source.uri : self.source.uri + '/')",
            message=(
                "must not be source.uri or lie below it, or published versions would be copied as part of the source: "
                "name another folder"
            ),
            holds=lambda spec: (
                spec.source is None or not _as_folder(spec.store.uri).startswith(_as_folder(spec.source.uri))
            ),
            field=".store.uri",
        ),
        *_not_in_the_store("training.data.validationUri", ("training", "training.data.validationUri")),
        *_not_in_the_store("training.data.testUri", ("training", "training.data.testUri")),
        *_not_in_the_store("source.testData.uri", ("source", "source.testData")),
    )
