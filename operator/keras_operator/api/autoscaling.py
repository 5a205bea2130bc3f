"""How many pods serve, where the load decides."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from .autoscaling_metrics import MeasuredResource, MetricEntry
from .resources import Resources
from .rules import Rule, ruled
from .wire import Written

DEFAULT_CPU_UTILIZATION = 70
_RUNTIME = "runtime"


class PolicyType(StrEnum):
    """What a policy counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several policies holds."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


class ScalingPolicy(Written, frozen=True, kw_only=True):
    """How many pods may come or go within a time."""

    type: Annotated[PolicyType, Meta(description="What value counts.", examples=["Percent"])]
    value: Annotated[int, Meta(ge=1, le=1_000_000, description="Number of pods, or percent of them.", examples=[50])]
    period_seconds: Annotated[int, Meta(ge=1, le=1800, description="Seconds, from 1 to 1800.", examples=[60])]


class ScalingRules(Written, frozen=True, kw_only=True):
    """How fast the number of pods changes in one direction."""

    stabilization_window_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=3600,
                description=(
                    "Seconds, from 0 to 3600, that are looked back upon for the most cautious number of pods. Left "
                    "out: 0 upwards, what the cluster says (300) downwards."
                ),
                examples=[60],
            ),
        ]
        | None
    ) = None
    select_policy: (
        Annotated[
            SelectPolicy,
            Meta(
                description="The policy that changes most (Max), least (Min), or no change at all. Left out: Max.",
                examples=["Min"],
            ),
        ]
        | None
    ) = None
    policies: Annotated[
        tuple[ScalingPolicy, ...],
        Meta(
            min_length=1,
            max_length=8,
            description=(
                "How fast. Left out: in 15 seconds, upwards 4 pods or as many as there are, downwards all of them."
            ),
            examples=[[{"type": "Pods", "value": 1, "periodSeconds": 60}]],
        ),
    ] = ()


class Behavior(Written, frozen=True, kw_only=True):
    """How fast the number of pods changes."""

    scale_up: (
        Annotated[
            ScalingRules,
            Meta(description="Upwards. Left out: Kubernetes' defaults.", examples=[{"stabilizationWindowSeconds": 30}]),
        ]
        | None
    ) = None
    scale_down: (
        Annotated[
            ScalingRules,
            Meta(description="Downwards. Left out: Kubernetes' defaults.", examples=[{"selectPolicy": "Disabled"}]),
        ]
        | None
    ) = None


class Autoscaling(Written, frozen=True, kw_only=True):
    """Bounds of the HorizontalPodAutoscaler, and what it goes by."""

    min_replicas: Annotated[
        int,
        Meta(
            le=1000,
            description="Pods at least, from 1 to 1000.",
            examples=[2],
            extra=ruled(
                Rule(
                    cel="self >= 1",
                    message=(
                        "must be 1 or more: where there is no pod a request gets no answer, because nothing holds it "
                        "until one has started"
                    ),
                    holds=lambda pods: pods >= 1,
                )
            ),
        ),
    ] = 1
    max_replicas: Annotated[int, Meta(ge=1, le=1000, description="Pods at most, from 1 to 1000.", examples=[10])] = 5
    target_cpu_utilization: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1000,
                description=(
                    "Percent of the requested CPU, from 1 to 1000, that pods use on average; more pods start above "
                    "it. Left out: 70, or what is written in metrics."
                ),
                examples=[60],
            ),
        ]
        | None
    ) = msgspec.field(name="targetCPUUtilization", default=None)
    metrics: Annotated[
        tuple[MetricEntry, ...],
        Meta(
            min_length=1,
            max_length=6,
            description=(
                "What to go by instead, as in a HorizontalPodAutoscaler of autoscaling/v2; the one that asks for most "
                "pods decides. Left out: targetCPUUtilization."
            ),
            examples=[
                [
                    {
                        "type": "Pods",
                        "pods": {
                            "metric": {"name": "requests_per_second"},
                            "target": {"type": "AverageValue", "averageValue": 50},
                        },
                    }
                ]
            ],
        ),
    ] = ()
    behavior: (
        Annotated[
            Behavior,
            Meta(
                description="How fast the number of pods changes. Left out: Kubernetes' defaults.",
                examples=[{"scaleDown": {"stabilizationWindowSeconds": 600}}],
            ),
        ]
        | None
    ) = None

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.minReplicas <= self.maxReplicas",
            message=(
                "minReplicas must not be above maxReplicas (left out they are 1 and 5): lower one or raise the other"
            ),
            says=(
                "'minReplicas %d is above maxReplicas %d (left out they are 1 and 5): lower minReplicas or raise "
                "maxReplicas'.format([self.minReplicas, self.maxReplicas])"
            ),
            holds=lambda autoscaling: autoscaling.min_replicas <= autoscaling.max_replicas,
        ),
        Rule(
            cel="!has(self.metrics) || !has(self.targetCPUUtilization)",
            message=(
                "metrics takes the place of targetCPUUtilization: remove one of them, or write CPU as an entry of "
                "metrics with type: ContainerResource"
            ),
            holds=lambda autoscaling: not autoscaling.metrics or autoscaling.target_cpu_utilization is None,
            field=".targetCPUUtilization",
        ),
    )

    def compares(self, resource: MeasuredResource) -> bool:
        """Whether what the runtime uses of a resource is compared with what it requests."""
        if not self.metrics:
            return resource is MeasuredResource.CPU
        return any(entry.utilization_of() in ((resource, None), (resource, _RUNTIME)) for entry in self.metrics)


def _is_requested(resources: Resources, name: str) -> bool:
    """Whether there is something to compare with: a request that is not 0 or, without one, a limit."""
    if name in resources.requests:
        return re.match(r"[0.]+([a-zA-Z]|$)", str(resources.requests[name])) is None
    return name in resources.limits


def _compares_with_requests(resource: MeasuredResource, words: str, example: str) -> Rule:
    compares = (
        f"self.autoscaling.metrics.exists(m, has(m.resource) && m.resource.name == '{resource}' && "
        f"m.resource.target.type == 'Utilization' || has(m.containerResource) && m.containerResource.name == "
        f"'{resource}' && m.containerResource.container == '{_RUNTIME}' && m.containerResource.target.type == "
        "'Utilization')"
    )
    by_default = str(resource is MeasuredResource.CPU).lower()
    request = f"self.resources.requests['{resource}']"
    # Any other memory below 1Mi is refused already, and a search through the text is dear.
    nothing = {
        MeasuredResource.CPU: f"string({request}).matches('^[0.]+([a-zA-Z]|$)')",
        MeasuredResource.MEMORY: f"{request} in [dyn(0), dyn('0'), dyn('0m'), dyn('0.0')]",
    }[resource]
    return Rule(
        cel=(
            f"!has(self.autoscaling) || !(has(self.autoscaling.metrics) ? {compares} : {by_default}) || "
            f"has(self.resources) && (has(self.resources.requests) && '{resource}' in self.resources.requests ? "
            f"!({nothing}) : "
            f"has(self.resources.limits) && '{resource}' in self.resources.limits)"
        ),
        message=(
            f"autoscaling measures {words} against what is requested, and nothing is: write "
            f"serving.resources.requests.{resource}, for example {example}"
        ),
        holds=lambda serving: (
            serving.autoscaling is None
            or not serving.autoscaling.compares(resource)
            or _is_requested(serving.resources, resource)
        ),
        field=".resources",
    )


WHAT_IS_COMPARED_IS_REQUESTED = (
    _compares_with_requests(MeasuredResource.CPU, "CPU", "500m"),
    _compares_with_requests(MeasuredResource.MEMORY, "memory", "512Mi"),
)
"""Rules of `serving`: a percentage of what is requested needs a request."""
