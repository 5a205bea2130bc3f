"""What is said of a run under way: what it says itself, or what its pods show of it."""

from keras_operator.api import ArchitectureName, EpochProgress, KerasModelSpec, Progress, ProgressStage, RunStage
from keras_operator.plan.causes import FINAL_EXIT_CODES, FOLLOWING_EXIT_CODE, container_exit_cause, of_worker
from keras_operator.plan.observed import Container, Observed, Pod
from keras_operator.plan.own_container import OWN, PREPARE, is_mistake
from keras_operator.plan.run import answer_of

_STAGE_WORDS = {
    ProgressStage.FETCHING: "is fetching its data",
    ProgressStage.EVALUATING: "is being evaluated",
    ProgressStage.SAVING: "is being saved",
    ProgressStage.EXPORTING: "is being exported",
    ProgressStage.VERIFYING: "is being verified",
    ProgressStage.PUBLISHING: "is being published",
}


def run_words(observed: Observed, spec: KerasModelSpec, number: int, *, exporting: bool) -> str:
    """How a version's run gets on, to be read after `version 3`."""
    if observed.progress is None:
        return " " + _silent_words(observed, number, exporting=exporting)
    words = _progress_words(observed.progress, spec, exporting=exporting)
    return f": {words}" if words.startswith("epoch ") else f" {words}"


def epoch_progress(progress: Progress | None) -> EpochProgress | None:
    """How far the training is, or None where it does not say."""
    if progress is None or not progress.epochs:
        return None
    left = None if progress.seconds_left is None else max(0, round(progress.seconds_left))
    return EpochProgress(epoch=progress.epoch or 0, epochs=progress.epochs, seconds_left=left)


def _progress_words(progress: Progress, spec: KerasModelSpec, *, exporting: bool) -> str:
    if progress.stage is ProgressStage.FETCHING and exporting:
        return "is fetching its source" if spec.source else "is fetching the trained model"
    if progress.stage is not ProgressStage.TRAINING or not progress.epochs:
        return _STAGE_WORDS.get(progress.stage, "is being trained")
    done = progress.epoch or 0
    within = bool(progress.step and progress.steps)
    # Within an epoch it is named as Keras does: the one under way.
    parts = [f"epoch {done + within}/{progress.epochs}"]
    if within:
        parts.append(f"step {progress.step}/{progress.steps}")
    if progress.phase:
        parts.append(progress.phase)
    accuracy = progress.metrics.get("val_accuracy", progress.metrics.get("accuracy"))
    error = progress.metrics.get("val_mae", progress.metrics.get("mae"))
    if accuracy is not None:
        parts.append(f"accuracy {accuracy:.2f}")
    elif error is not None:
        parts.append(f"mae {error:.4g}")
    loss = progress.metrics.get("val_loss", progress.metrics.get("loss"))
    if loss is not None:
        parts.append(f"loss {loss:.3g}")
    if progress.examples_per_second is not None:
        # Two digits, so that a steady pace is a steady word.
        rate = float(f"{progress.examples_per_second:.2g}")
        parts.append(f"{rate:{',.0f' if rate >= 10 else 'g'}} {_examples(spec)}/s")
    if progress.seconds_left is not None:
        parts.append(_time_left(progress.seconds_left))
    if progress.resumed_from is not None:
        parts.append(f"resumed from epoch {progress.resumed_from}")
    return " · ".join(parts)


def _examples(spec: KerasModelSpec) -> str:
    """What a training learns from."""
    network = spec.training.architecture if spec.training else None
    return "rows" if network and network.name is ArchitectureName.MLP else "images"


def _silent_words(observed: Observed, number: int, *, exporting: bool) -> str:
    """What is said of a run that says nothing itself: its pod has not started, or has ended already."""
    component = RunStage.EXPORT if exporting else RunStage.TRAIN
    job = observed.job(number, component)
    if job and job.suspended and job.queue:
        return f"waits for its turn in queue {job.queue} (kubectl get workloads tells more)"
    pods = observed.job_pods(job) if job else ()
    failed = [pod for pod in pods if pod.phase == "Failed" or any(c.exit_code for c in pod.containers)]
    first = [pod for pod in pods if pod.index == 0]
    if any(c.name == component.value and c.exit_code == 0 for pod in first[-1:] for c in pod.containers):
        return "was exported; the result is on its way" if exporting else "was trained; the result is on its way"
    for pod in pods[-1:]:
        for one in pod.containers:
            if one.name == OWN and one.running and one.started:
                return f"is trained by container {OWN} of pod {pod.identity.name} since {one.started:%H:%M} UTC"
    if not failed:
        return "is starting to be exported" if exporting else "is starting to train"
    # Of workers that end because another one did, the other one's end is the failure.
    failed = [pod for pod in failed if not any(c.exit_code == FOLLOWING_EXIT_CODE for c in pod.containers)] or failed
    words = _last_words(failed[-1])
    said = f": {of_worker(job, failed[-1], words)}" if job and words else ""
    if any(_is_final(container, component) for container in failed[-1].containers):
        return f"failed in its {component.value} Job{said}"
    often = f"{len(failed)} failure{'s' * (len(failed) > 1)}"
    return f"is tried again after {often} of its {component.value} Job{said}"


def _is_final(container: Container, component: RunStage) -> bool:
    """Whether the Job gives up because of how a container ended."""
    ours = container.name in (component.value, PREPARE)
    return is_mistake(container) or (ours and container.exit_code in FINAL_EXIT_CODES)


def _last_words(pod: Pod) -> str:
    """Why a pod of a run failed, as it said itself or as Kubernetes saw it."""
    for container in pod.containers:
        answer = answer_of(container)
        if answer and answer.error and pod.reason != "Evicted":
            return answer.error.message
        if cause := container_exit_cause(pod, container):
            return cause.message
    return ""


def _time_left(seconds: float) -> str:
    if seconds >= 5400:
        return f"about {seconds / 3600:.0f} h left"
    return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {max(1, round(seconds))} s left"
