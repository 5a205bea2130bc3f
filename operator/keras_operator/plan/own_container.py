"""The team's own image in the pod that trains: what it is given, and what its end means.

Three containers follow each other: ours fetches the data (`PREPARE`), theirs trains (`OWN`), ours evaluates, as any
training's container does. Theirs writes what it likes, also where Kubernetes looks for last words: those are read as
words, and never as a result.
"""

import msgspec

from keras_operator.api import RunStage, Training
from keras_operator.plan.observed import Container, Job, Observed

PREPARE = "prepare"
OWN = "own"
# sysexits.h: EX_TEMPFAIL, and what a program ends with that SIGTERM ended: the Job tries these again, and no other.
RETRIED_EXIT_CODES = (75, 143)

DATA, WORK, OUTPUT = "/keras/data", "/keras/work", "/keras/output"
"""Where it finds the data, where it may write, and where it leaves what it learned."""
PREPARED = "/prepared"
"""What ours keep for each other, which theirs does not see."""


def own_container(
    training: Training | None, stage: RunStage, model: str, number: int, resources: dict[str, dict[str, object]]
) -> dict[str, object] | None:
    """What its template prints; None where the trainer's own image trains. `model` is `<namespace>/<name>`."""
    container = training.container if training and stage is RunStage.TRAIN else None
    if training is None or container is None:
        return None
    environment = {
        "KERAS_OPERATOR_MODEL": model,
        "KERAS_OPERATOR_VERSION": str(number),
        "KERAS_OPERATOR_EPOCHS": str(training.epochs),
        "KERAS_OPERATOR_BATCH_SIZE": str(training.batch_size),
        "KERAS_OPERATOR_SEED": str(training.seed),
        "KERAS_OPERATOR_PARAMS": msgspec.json.encode(container.params, order="deterministic").decode(),
        "KERAS_OPERATOR_DATA": DATA,
        "KERAS_OPERATOR_WORK": WORK,
        "KERAS_OPERATOR_OUTPUT": OUTPUT,
        "HOME": WORK,
        "TMPDIR": WORK,
    }
    return {
        "image": container.image,
        "command": [*container.command],
        "args": [*container.args],
        "environment": environment,
        "resources": resources,
        "prepared": PREPARED,
    }


def without_devices(resources: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """What the containers around it ask for: as much, so that the pod needs no more than it does, and no device."""
    kept = {part: _plain(amounts) for part, amounts in resources.items()}
    return {part: amounts for part, amounts in kept.items() if amounts}


def _plain(amounts: dict[str, object]) -> dict[str, object]:
    return {name: amount for name, amount in amounts.items() if "/" not in name}


def is_mistake(container: Container) -> bool:
    """Whether a team's container ended in a way that the Job does not try again."""
    return container.name == OWN and container.exit_code not in (None, 0, *RETRIED_EXIT_CODES)


def image_that_trained(observed: Observed, job: Job) -> str | None:
    """The image of the container that trained, as the node pulled it, with its digest; None where nobody says."""
    for pod in reversed(observed.job_pods(job)):
        for container in pod.containers:
            if container.name == OWN and container.exit_code == 0 and container.image:
                return container.image
    return None
