"""Where the pods that train may run, and when."""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .rules import Rule, fully_matches, ruled
from .wire import Written

LABEL_VALUE = "(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
_DNS_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*"
LABEL_KEY = rf"(?:{_SUBDOMAIN}/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?"

_IS_LABEL_VALUE = fully_matches(
    LABEL_VALUE,
    "must be a label's value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
)
_KEYS_ARE_LABELS = Rule(
    cel=f"self.all(name, name.matches(r'^{LABEL_KEY}$'))",
    message="its keys must be labels of nodes, such as disktype or topology.kubernetes.io/zone: see kubectl get nodes "
    "--show-labels",
    holds=lambda labels: all(fully_matches(LABEL_KEY, "").holds(name) for name in labels),  # type: ignore[misc]
)


class TolerationOperator(StrEnum):
    """How a toleration is compared with a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Written, frozen=True, kw_only=True):
    """A taint of nodes that the pods put up with, as in a pod's `tolerations`."""

    key: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=316,
            description="Key of the taint.",
            examples=["nvidia.com/gpu"],
            extra=ruled(fully_matches(LABEL_KEY, "must be a taint's key, such as dedicated or nvidia.com/gpu")),
        ),
    ]
    operator: Annotated[
        TolerationOperator,
        Meta(description="Equal: the taint has this value. Exists: whatever its value is.", examples=["Exists"]),
    ] = TolerationOperator.EQUAL
    value: Annotated[
        str, Meta(max_length=63, description="Value of the taint.", examples=["training"], extra=ruled(_IS_LABEL_VALUE))
    ] = ""
    effect: (
        Annotated[
            TaintEffect, Meta(description="Effect of the taint. Left out: every effect.", examples=["NoSchedule"])
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.operator != 'Exists' || self.value == ''",
            message="with the operator Exists every value is tolerated: leave value out, or write the operator Equal",
            holds=lambda one: one.operator is not TolerationOperator.EXISTS or not one.value,
            field=".value",
        ),
    )


NodeSelector = Annotated[
    dict[str, Annotated[str, Meta(max_length=63, extra=ruled(_IS_LABEL_VALUE))]],
    Meta(
        max_length=6,
        description="Labels that a node must have for the pods to run there. Left out: any node.",
        examples=[{"disktype": "ssd"}],
        extra=ruled(_KEYS_ARE_LABELS),
    ),
]
Tolerations = Annotated[
    tuple[Toleration, ...],
    Meta(
        max_length=8,
        description="Taints of nodes that the pods put up with. Left out: none, except that of GPUs where one is used.",
        examples=[[{"key": "dedicated", "value": "training", "effect": "NoSchedule"}]],
    ),
]
PriorityClassName = Annotated[
    str,
    Meta(
        max_length=253,
        description="PriorityClass of the pods. Left out: the cluster's default.",
        examples=["batch-low"],
        extra=ruled(fully_matches(_SUBDOMAIN, "must be the name of a PriorityClass: see kubectl get priorityclasses")),
    ),
]
QueueName = Annotated[
    str,
    Meta(
        max_length=63,
        description=(
            "LocalQueue of Kueue in the model's namespace. The Job is created suspended, and Kueue starts it when its "
            "turn has come. Left out: it starts at once."
        ),
        examples=["team-vision"],
        extra=ruled(fully_matches(_DNS_LABEL, "must be the name of a LocalQueue: see kubectl get localqueues")),
    ),
]
GpusPerWorker = Annotated[
    int,
    Meta(
        ge=0,
        le=16,
        description=(
            "Number of GPUs (nvidia.com/gpu) that the training is given, with a toleration of their taint. More than "
            "one only with a container of your own: a network by name learns on one GPU, and on several with workers."
        ),
        examples=[1],
    ),
]

LARGEST_WORLD = 16
Workers = Annotated[
    int,
    Meta(
        ge=1,
        le=LARGEST_WORLD,
        description=(
            "Number of pods that train together, each on its part of every batch; resources and gpusPerWorker are of "
            "each. Batch normalisation sees one part at a time."
        ),
        examples=[4],
    ),
]

GPU = "nvidia.com/gpu"
GPUS_ARE_WRITTEN_ONCE = Rule(
    cel=(
        "!has(self.gpusPerWorker) || self.gpusPerWorker == 0 || !has(self.resources) || "
        "!has(self.resources.limits) || "
        f"!('{GPU}' in self.resources.limits)"
    ),
    message=f"resources.limits has {GPU} already: write the number of GPUs in one of the two places",
    holds=lambda training: not training.gpus_per_worker or GPU not in training.resources.limits,
    field=".gpusPerWorker",
)
GPUS_ARE_USED = Rule(
    cel="!has(self.gpusPerWorker) || self.gpusPerWorker < 2 || has(self.container)",
    message="a worker learns on one GPU, and the others would be idle: write gpusPerWorker: 1 and workers for the "
    "number of GPUs, or train in a container of your own",
    holds=lambda training: training.gpus_per_worker < 2 or training.container is not None,
    field=".gpusPerWorker",
)
EVERY_WORKER_HAS_WORK = Rule(
    cel="!has(self.workers) || self.workers == 1 || self.workers <= (has(self.batchSize) ? self.batchSize : 32)",
    message="there are more workers than images in a batch, and some would never have one: raise batchSize, or lower "
    "workers",
    holds=lambda training: training.workers == 1 or training.workers <= training.batch_size,
    field=".workers",
)
WORKERS_ARE_NOT_COMPILED = Rule(
    cel="!has(self.workers) || self.workers == 1 || !has(self.jitCompile) || !self.jitCompile",
    message="XLA cannot compile a step that waits for other workers: remove jitCompile, or write workers: 1",
    holds=lambda training: training.workers == 1 or not training.jit_compile,
    field=".jitCompile",
)
