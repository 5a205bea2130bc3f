"""What a model's own pods say when they are asked: how far a run is, what an agent serves, what was answered.

They are asked at a bounded rate, and one that does not answer is no error: what Kubernetes knows is enough to go on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from keras_operator.api import Progress
from keras_operator.cluster.client import Client
from keras_operator.cluster.clock import Clock
from keras_operator.cluster.failure import ApiFailure
from keras_operator.plan.observed import AgentReport, AgentTrouble, Job, JobState, Model, Pod, Traffic
from keras_operator.plan.own_container import OWN

PROGRESS_PORT, AGENT_PORT = 8080, 8502
_ASK_EVERY_SECONDS = 0.9
_ASK_TRAFFIC_EVERY_SECONDS = 4.0
_REMEMBERED_PODS = 10_000

Answer = Progress | tuple[AgentReport, AgentTrouble | None]
"""What a pod says: one of a run how far it is, an agent what it serves and what is in its way."""


class PodAnswers:
    """Asks pods.

    Args:
        client: who asks.
        clock: when.

    Attributes:
        requests: how many were sent.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.requests = 0
        self._client = client
        self._clock = clock
        self._answers: OrderedDict[str, tuple[float, Answer | None]] = OrderedDict()
        self._traffics: OrderedDict[str, tuple[float, int | None, Traffic | None]] = OrderedDict()

    async def progress(self, jobs: tuple[Job, ...], pods: tuple[Pod, ...]) -> Progress | None:
        """How far the run is that is under way."""
        active = {job.identity.uid for job in jobs if job.state is JobState.ACTIVE}
        for pod in reversed(pods):
            # Of several workers the first one tells.
            if pod.job_uid in active and not pod.index and pod.ip and _answers(pod):
                answer = await self._ask(pod, f"http://{_host(pod.ip)}:{PROGRESS_PORT}/progress")
                return answer if isinstance(answer, Progress) else None
        return None

    async def agents(self, pods: tuple[Pod, ...]) -> dict[str, tuple[AgentReport, AgentTrouble | None]]:
        """What the agents of serving pods say that are on their way, by the pod's name."""
        waiting = [pod for pod in pods if pod.knows_what_it_waits_for]
        answers = await asyncio.gather(
            *(self._ask(pod, f"http://{_host(pod.ip)}:{AGENT_PORT}/status") for pod in waiting)
        )
        return {
            pod.identity.name: answer
            for pod, answer in zip(waiting, answers, strict=True)
            if answer is not None and not isinstance(answer, Progress)
        }

    async def traffic(self, model: Model, pods: tuple[Pod, ...]) -> dict[str, Traffic]:
        """What the pods answered since the canary's step began, while one is watched."""
        canary = model.status.canary
        if canary is None or canary.since is None or canary.refused:
            return {}
        seconds = max(1, int((self._clock.now() - canary.since).total_seconds()))
        asked = [pod for pod in pods if pod.component == "serving" and pod.ready and pod.ip]
        answers = await asyncio.gather(*(self._ask_traffic(pod, seconds) for pod in asked))
        return {pod.identity.name: one for pod, one in zip(asked, answers, strict=True) if one is not None}

    async def _ask_traffic(self, pod: Pod, seconds: int) -> Traffic | None:
        asked, number, last = self._traffics.get(pod.identity.uid, (-_ASK_TRAFFIC_EVERY_SECONDS, None, None))
        now = self._clock.monotonic()
        # What it answered with another version says nothing of this one.
        if number == pod.number and now - asked < _ASK_TRAFFIC_EVERY_SECONDS:
            return last
        self.requests += 1
        try:
            answer = await self._client.http_json(f"http://{_host(pod.ip)}:{AGENT_PORT}/traffic/{seconds}")
            last = _read_traffic(answer)
        except (ApiFailure, msgspec.ValidationError):
            # What it said before was of a shorter time, or of another step.
            last = None
        self._traffics[pod.identity.uid] = (now, pod.number, last)
        self._traffics.move_to_end(pod.identity.uid)
        if len(self._traffics) > _REMEMBERED_PODS:
            self._traffics.popitem(last=False)
        return last

    async def _ask(self, pod: Pod, url: str) -> Answer | None:
        """The answer of a pod, at most about once a second; in between the last one."""
        asked, last = self._answers.get(pod.identity.uid, (-_ASK_EVERY_SECONDS, None))
        now = self._clock.monotonic()
        if now - asked < _ASK_EVERY_SECONDS:
            return last
        self.requests += 1
        answer: Answer | None
        try:
            answer = _read(pod, await self._client.http_json(url))
        except (ApiFailure, msgspec.ValidationError):
            # The pod is starting, ending or busy: its last word stands until it says another.
            answer = last
        self._answers[pod.identity.uid] = (now, answer)
        self._answers.move_to_end(pod.identity.uid)
        if len(self._answers) > _REMEMBERED_PODS:
            self._answers.popitem(last=False)
        return answer


def _answers(pod: Pod) -> bool:
    """Whether a program of the operator's own runs in a run's pod; what a team's answers there is no progress."""
    running = [one.name for one in pod.containers if one.running]
    return bool(running) and OWN not in running


def _read(pod: Pod, answer: dict[str, object]) -> Answer:
    if pod.component != "serving":
        return msgspec.convert(answer, Progress)
    wanted, serving, swaps, memory = (answer.get(name) for name in ("wanted", "serving", "swaps", "memory"))
    report = AgentReport(
        wanted=wanted if isinstance(wanted, int) else None,
        serving=serving if isinstance(serving, int) else None,
        swaps=swaps if isinstance(swaps, int) else 0,
        memory=memory if isinstance(memory, int) else 0,
        fetching=answer.get("phase") == "Fetching",
        fetched=_fetched(answer.get("times")),
    )
    error = answer.get("error")
    if not isinstance(error, dict):
        return report, None
    return report, AgentTrouble(pod.identity.name, str(error.get("reason", "")), str(error.get("message", "")))


def _fetched(times: object) -> datetime | None:
    try:
        return msgspec.convert(times.get("fetched"), _Moment | None) if isinstance(times, dict) else None
    except msgspec.ValidationError:
        return None  # what is no moment says nothing, and the rest of the answer counts


_Moment = Annotated[datetime, Meta(tz=True)]


class _TrafficPage(msgspec.Struct):
    requests: int
    errors: int
    latency: list[tuple[float | None, int]]
    # An agent of an older release does not say.
    classes: dict[str, int] = {}


def _read_traffic(answer: dict[str, object]) -> Traffic:
    page = msgspec.convert(answer, _TrafficPage)
    latency = ((float("inf") if limit is None else limit, count) for limit, count in page.latency)
    return Traffic(page.requests, page.errors, tuple(latency), page.classes)


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
