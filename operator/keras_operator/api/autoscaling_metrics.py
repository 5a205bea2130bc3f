"""What an autoscaler goes by: one entry of `autoscaling.metrics`, a MetricSpec of Kubernetes' autoscaling/v2."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from .resources import PositiveQuantity
from .rules import Rule, fully_matches, ruled
from .scheduling import LABEL_KEY, LABEL_VALUE
from .wire import Written

# As Kubernetes' content.IsPathSegmentName has it: these names become parts of paths of the API server.
_IS_PATH_SEGMENT = Rule(
    cel="self.matches('^[^/%]+$') && !(self in ['.', '..'])",
    message="must be a name without '/' and '%', and not '.' or '..'",
    holds=lambda name: re.fullmatch("[^/%]+", name) is not None and name not in {".", ".."},
)


def _are_labels(labels: dict[str, str]) -> bool:
    return all(
        re.fullmatch(LABEL_KEY, key, re.ASCII) and re.fullmatch(LABEL_VALUE, value, re.ASCII)
        for key, value in labels.items()
    )


class MetricType(StrEnum):
    """Where a metric comes from."""

    CONTAINER_RESOURCE = "ContainerResource"
    RESOURCE = "Resource"
    PODS = "Pods"
    OBJECT = "Object"
    EXTERNAL = "External"


class MeasuredResource(StrEnum):
    """What metrics-server measures."""

    CPU = "cpu"
    MEMORY = "memory"


class ResourceTargetType(StrEnum):
    """How much of a resource pods should use."""

    UTILIZATION = "Utilization"
    AVERAGE_VALUE = "AverageValue"


class PodsTargetType(StrEnum):
    """How high a metric of pods should be."""

    AVERAGE_VALUE = "AverageValue"


class ValueTargetType(StrEnum):
    """How high any other metric should be."""

    VALUE = "Value"
    AVERAGE_VALUE = "AverageValue"


_AVERAGE_VALUE = Annotated[
    PositiveQuantity,
    Meta(description="Quantity for each pod, such as 50, 500m or 1Gi. Left out: another type.", examples=["500m"]),
]


class ResourceTarget(Written, frozen=True, kw_only=True):
    """How much of a resource pods should use."""

    type: Annotated[ResourceTargetType, Meta(description="Which of the two is written.", examples=["Utilization"])]
    average_utilization: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1000,
                description="Percent of what is requested, from 1 to 1000, on average. Left out: another type.",
                examples=[80],
            ),
        ]
        | None
    ) = None
    average_value: _AVERAGE_VALUE | None = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "(self.type == 'Utilization') == has(self.averageUtilization) && "
                "(self.type == 'AverageValue') == has(self.averageValue)"
            ),
            message=(
                "write the one that type names: averageUtilization, in percent of the request, with type: Utilization, "
                "or averageValue with type: AverageValue"
            ),
            holds=lambda one: (
                (one.average_utilization is not None, one.average_value is not None)
                == (one.type is ResourceTargetType.UTILIZATION, one.type is ResourceTargetType.AVERAGE_VALUE)
            ),
        ),
    )


class PodsTarget(Written, frozen=True, kw_only=True):
    """How high a metric of pods should be."""

    type: Annotated[PodsTargetType, Meta(description="Always AverageValue.", examples=["AverageValue"])]
    average_value: Annotated[
        PositiveQuantity, Meta(description="Quantity for each pod, such as 50 or 500m.", examples=["500m"])
    ]


class ValueTarget(Written, frozen=True, kw_only=True):
    """How high a metric should be that is not one of pods."""

    type: Annotated[ValueTargetType, Meta(description="Which of the two is written.", examples=["Value"])]
    value: (
        Annotated[
            PositiveQuantity,
            Meta(description="Quantity for all pods, such as 50 or 500m. Left out: another type.", examples=[30]),
        ]
        | None
    ) = None
    average_value: _AVERAGE_VALUE | None = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                "(self.type == 'Value') == has(self.value) && (self.type == 'AverageValue') == has(self.averageValue)"
            ),
            message=(
                "write the one that type names: value with type: Value, or averageValue, for each pod, with type: "
                "AverageValue"
            ),
            holds=lambda one: (
                (one.value is not None, one.average_value is not None)
                == (one.type is ValueTargetType.VALUE, one.type is ValueTargetType.AVERAGE_VALUE)
            ),
        ),
    )


class MetricSelector(Written, frozen=True, kw_only=True):
    """Which series of a metric count, by their labels."""

    match_labels: Annotated[
        dict[str, Annotated[str, Meta(max_length=63)]],
        Meta(
            max_length=8,
            description="Labels and their values.",
            examples=[{"queue": "dogs"}],
            extra=ruled(
                Rule(
                    cel=f"self.all(key, key.matches(r'^{LABEL_KEY}$') && self[key].matches(r'^{LABEL_VALUE}$'))",
                    message="must be labels of Kubernetes with their values, such as queue: dogs",
                    holds=_are_labels,
                )
            ),
        ),
    ]


class MetricIdentifier(Written, frozen=True, kw_only=True):
    """A metric by its name, and perhaps by its labels."""

    name: Annotated[
        str,
        Meta(
            max_length=253,
            description="Name as the metrics API has it.",
            examples=["requests_per_second"],
            extra=ruled(_IS_PATH_SEGMENT),
        ),
    ]
    selector: (
        Annotated[
            MetricSelector,
            Meta(
                description="Which of its series count. Left out: all.", examples=[{"matchLabels": {"queue": "dogs"}}]
            ),
        ]
        | None
    ) = None


class DescribedObject(Written, frozen=True, kw_only=True):
    """An object in the model's namespace that a metric is about."""

    api_version: (
        Annotated[
            str,
            Meta(
                max_length=253,
                description="Group and version. Left out: v1.",
                examples=["networking.k8s.io/v1"],
                extra=ruled(fully_matches("(?:[^/]+/)?[^/]+", "must be <group>/<version>, or v1 for the core group")),
            ),
        ]
        | None
    ) = None
    kind: Annotated[
        str, Meta(max_length=63, description="Its kind.", examples=["Ingress"], extra=ruled(_IS_PATH_SEGMENT))
    ]
    name: Annotated[
        str, Meta(max_length=253, description="Its name.", examples=["dogs"], extra=ruled(_IS_PATH_SEGMENT))
    ]


class ResourceSource(Written, frozen=True, kw_only=True):
    """CPU or memory of whole pods, the agent's share included."""

    name: Annotated[MeasuredResource, Meta(description="cpu or memory.", examples=["memory"])]
    target: Annotated[
        ResourceTarget,
        Meta(description="When there are too few pods.", examples=[{"type": "Utilization", "averageUtilization": 80}]),
    ]


class ContainerResourceSource(Written, frozen=True, kw_only=True):
    """CPU or memory of one container of the pods."""

    name: Annotated[MeasuredResource, Meta(description="cpu or memory.", examples=["memory"])]
    container: Annotated[
        str,
        Meta(
            max_length=63,
            description="runtime answers predictions, agent fetches versions.",
            examples=["runtime"],
            extra=ruled(
                fully_matches(
                    "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "must be a container of the pods, such as runtime"
                )
            ),
        ),
    ]
    target: Annotated[
        ResourceTarget,
        Meta(description="When there are too few pods.", examples=[{"type": "Utilization", "averageUtilization": 80}]),
    ]


class PodsSource(Written, frozen=True, kw_only=True):
    """A metric that the pods have themselves, from custom.metrics.k8s.io."""

    metric: Annotated[MetricIdentifier, Meta(description="Which metric.", examples=[{"name": "requests_per_second"}])]
    target: Annotated[
        PodsTarget,
        Meta(description="When there are too few pods.", examples=[{"type": "AverageValue", "averageValue": 50}]),
    ]


class ObjectSource(Written, frozen=True, kw_only=True):
    """A metric of another object, from custom.metrics.k8s.io."""

    described_object: Annotated[
        DescribedObject,
        Meta(
            description="Which object.",
            examples=[{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "dogs"}],
        ),
    ]
    metric: Annotated[MetricIdentifier, Meta(description="Which metric.", examples=[{"name": "requests_per_second"}])]
    target: Annotated[
        ValueTarget, Meta(description="When there are too few pods.", examples=[{"type": "Value", "value": 100}])
    ]


class ExternalSource(Written, frozen=True, kw_only=True):
    """A metric from outside of the cluster, from external.metrics.k8s.io."""

    metric: Annotated[MetricIdentifier, Meta(description="Which metric.", examples=[{"name": "queue_length"}])]
    target: Annotated[
        ValueTarget,
        Meta(description="When there are too few pods.", examples=[{"type": "AverageValue", "averageValue": 30}]),
    ]


class MetricEntry(Written, frozen=True, kw_only=True):
    """One metric that an autoscaler goes by."""

    type: Annotated[MetricType, Meta(description="Which of the following is written.", examples=["Pods"])]
    container_resource: (
        Annotated[
            ContainerResourceSource,
            Meta(
                description="CPU or memory of one container. Left out: another type.",
                examples=[
                    {
                        "name": "memory",
                        "container": "runtime",
                        "target": {"type": "AverageValue", "averageValue": "1Gi"},
                    }
                ],
            ),
        ]
        | None
    ) = None
    resource: (
        Annotated[
            ResourceSource,
            Meta(
                description="CPU or memory of whole pods. Left out: another type.",
                examples=[{"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}],
            ),
        ]
        | None
    ) = None
    pods: (
        Annotated[
            PodsSource,
            Meta(
                description="A metric of the pods, through an adapter. Left out: another type.",
                examples=[
                    {
                        "metric": {"name": "requests_per_second"},
                        "target": {"type": "AverageValue", "averageValue": 50},
                    }
                ],
            ),
        ]
        | None
    ) = None
    object: (
        Annotated[
            ObjectSource,
            Meta(
                description="A metric of another object. Left out: another type.",
                examples=[
                    {
                        "describedObject": {"kind": "Service", "name": "dogs"},
                        "metric": {"name": "requests_per_second"},
                        "target": {"type": "Value", "value": 100},
                    }
                ],
            ),
        ]
        | None
    ) = None
    external: (
        Annotated[
            ExternalSource,
            Meta(
                description="A metric from elsewhere. Left out: another type.",
                examples=[{"metric": {"name": "queue_length"}, "target": {"type": "AverageValue", "averageValue": 30}}],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=" && ".join(
                f"(self.type == '{kind}') == has(self.{kind[0].lower() + kind[1:]})" for kind in MetricType
            ),
            message="type names what is written beside it: with type: Pods write pods and nothing else",
            says=(
                "'type %s goes with %s: write that and nothing else beside type'.format([self.type, "
                "self.type.substring(0, 1).lowerAscii() + self.type.substring(1)])"
            ),
            holds=lambda entry: all(
                (entry.type is kind) == (source is not None)
                for kind, source in zip(
                    MetricType,
                    (entry.container_resource, entry.resource, entry.pods, entry.object, entry.external),
                    strict=True,
                )
            ),
        ),
    )

    def utilization_of(self) -> tuple[MeasuredResource, str | None] | None:
        """The resource that is compared with what is requested, and of which container (None: all); None for none."""
        if self.container_resource and self.container_resource.target.type is ResourceTargetType.UTILIZATION:
            return self.container_resource.name, self.container_resource.container
        if self.resource and self.resource.target.type is ResourceTargetType.UTILIZATION:
            return self.resource.name, None
        return None
