"""The child by which the workers of one training find each other."""

from keras_operator.api import KerasModelSpec
from keras_operator.plan.desired import Desired, Removal, Template, values_of
from keras_operator.plan.observed import JobState, Model, Observed

PORT = 8503
"""Where the first worker listens."""


def workers_name(model: str) -> str:
    """The name of the headless Service."""
    return f"{model}-workers"


def train_together(observed: Observed, spec: KerasModelSpec) -> bool:
    """Whether a training of this model has several workers, or one that still runs has."""
    wanted = spec.training is not None and spec.training.workers > 1
    return wanted or any(job.workers > 1 and job.state is JobState.ACTIVE for job in observed.jobs)


def workers_children(
    observed: Observed, model: Model, spec: KerasModelSpec
) -> tuple[tuple[Desired, ...], tuple[Removal, ...]]:
    """The Service to keep, or the one to remove where every training has one worker."""
    name, there = workers_name(model.identity.name), observed.workers_service
    if not train_together(observed, spec):
        left = () if there is None or there.identity.deleting else (Removal("Service", name, there.identity.uid),)
        return (), left
    return (Desired(Template.WORKERS_SERVICE, name, values_of(model, name)),), ()
