"""The kubelet and what its pods run: runs that answer, break or are evicted, and pods that load a servable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
from keras_operator.api import RunError, RunResult, RunSpec, RunStage
from keras_operator.cluster.failure import ServerUnavailable
from keras_operator.cluster.reference import CONFIG_MAP, POD, Ref
from keras_operator.projection import COMPONENT_LABEL, WISH_ANNOTATION

from tests.simulation.controllers import ACTOR, Schedule
from tests.simulation.memory_store import ObjectStorage
from tests.simulation.object_table import Body, Change, ObjectTable, labels

SERVES = "serves"
"""In a serving pod's status: the version that it really answers with, which nobody but the simulation knows."""


def answers_errors(number: int) -> bool:
    """Whether half of a version's answers are errors."""
    return number % 3 == 2


@dataclass(slots=True)
class Agent:
    """The agent of a pod: what it is to serve, what it serves, how often that was changed, and what is in its way."""

    wanted: int = 0
    serving: int = 0
    swaps: int = 0
    trouble: str = ""


class Kubelet:
    """Runs pods.

    Args:
        table: where they are.
        storage: what they read and write.
        random: decides how each ends, and when.
        later: calls back after so many seconds.
        step: told of what happens.

    Attributes:
        calm: no container breaks by itself any more.
    """

    def __init__(
        self,
        table: ObjectTable,
        storage: ObjectStorage,
        random: Random,
        later: Schedule,
        step: Callable[[str], object],
    ) -> None:
        self.calm = False
        self._table = table
        self._storage = storage
        self._random = random
        self._later = later
        self._step = step
        self._addresses: dict[str, Ref] = {}
        self._agents: dict[str, Agent] = {}
        table.listeners.append(self._saw)

    def answer(self, url: str) -> Mapping[str, Any]:
        """What a pod says on its progress or status page.

        Raises:
            ServerUnavailable: it does not run, or has no time.
        """
        ref = self._addresses.get(url.split("/")[2].partition(":")[0])
        pod = ref and self._table.get(ref)
        if not pod or pod["status"]["phase"] != "Running" or (not self.calm and self._random.random() < 0.3):
            raise ServerUnavailable(0, "Unreachable", f"{url}: connection refused")
        agent = self._agents.setdefault(pod["metadata"]["uid"], Agent())
        if "/traffic/" in url:
            errors = 100 if answers_errors(agent.serving) else 0
            return {
                "seconds": 10.0,
                "requests": 200,
                "errors": errors,
                "latency": [[1000.0, 200 - errors], [None, 200]],
            }
        if url.endswith("/status"):
            said = {"wanted": agent.wanted, "serving": agent.serving or None, "swaps": agent.swaps}
            return said | ({"error": {"reason": "StoreUnreachable", "message": agent.trouble}} if agent.trouble else {})
        return {"stage": "training", "epoch": self._random.randint(1, 3), "epochs": 3, "metrics": {}}

    def _saw(self, change: Change) -> None:
        if change.ref.kind != POD or change.after is None:
            return
        if "deletionTimestamp" in change.after["metadata"]:
            if change.before is not None and "deletionTimestamp" not in change.before["metadata"]:
                self._later(self._seconds(1, 20), lambda: self._take_away(change.ref, change.uid))
        elif change.before is None:
            self._later(self._seconds(0.2, 8), lambda: self._start(change.ref, change.uid))
        elif _wish(change.before) != _wish(change.after):
            # The kubelet brings the annotation into the pod a little later.
            self._later(self._seconds(0.1, 3), lambda: self._load(change.ref, change.uid))

    def _start(self, ref: Ref, uid: str) -> None:
        pod = self._alive(ref, uid)
        if pod is None:
            return
        self._step(f"{ref} starts")
        address = f"10.0.{len(self._addresses) // 250}.{len(self._addresses) % 250 + 1}"
        self._addresses[address] = ref
        component = labels(pod).get(COMPONENT_LABEL, "")
        serving = component == "serving"
        containers = ["runtime"] if serving else [component]
        running = [{"name": name, "ready": False, "state": {"running": {}}} for name in containers]
        status: Body = {"phase": "Running", "podIP": address, "containerStatuses": running}
        if serving:
            status["initContainerStatuses"] = [{"name": "agent", "ready": False, "state": {"running": {}}}]
        self._table.change(ref, ACTOR, status=status)
        self._later(self._seconds(1, 12), lambda: self._load(ref, uid) if serving else self._run(ref, uid))

    def _load(self, ref: Ref, uid: str) -> None:
        """A serving pod is ready once its version is published and loaded, also while another takes its place."""
        pod = self._alive(ref, uid)
        if pod is None or pod["status"]["phase"] != "Running":
            return
        arguments = dict(
            argument.split("=", 1) for argument in pod["spec"]["initContainers"][0]["args"] if "=" in argument
        )
        agent = self._agents.setdefault(uid, Agent())
        agent.wanted = int(arguments.get("--version") or _wish(pod) or agent.wanted or self._start_version(ref, pod))
        away = not self.calm and self._random.random() < 0.2
        agent.trouble = "the store is away" if away else ""
        if away or (arguments["--store-uri"], agent.wanted) not in self._storage.published:
            self._later(5.0, lambda: self._load(ref, uid))
        elif agent.serving != agent.wanted:
            wanted = agent.wanted
            self._later(self._seconds(0.1, 4), lambda: self._serve(ref, uid, wanted))

    def _serve(self, ref: Ref, uid: str, number: int) -> None:
        pod, agent = self._alive(ref, uid), self._agents[uid]
        if pod is None or agent.wanted != number or agent.serving == number:
            return
        self._step(f"{ref} is ready with version {number}")
        agent.swaps += agent.serving != 0
        agent.serving = number
        ready = {"conditions": [{"type": "Ready", "status": "True"}], SERVES: number}
        self._table.change(ref, ACTOR, status=pod["status"] | ready)

    def _start_version(self, ref: Ref, pod: Body) -> int:
        name = labels(pod)["keras-operator.dev/model"]
        start = self._table.get(Ref(CONFIG_MAP, ref.namespace, name))
        return int(start["data"]["version"]) if start else 0

    def _run(self, ref: Ref, uid: str) -> None:
        """A run's container ends."""
        pod = self._alive(ref, uid)
        if pod is None:
            return
        container = pod["spec"]["containers"][0]
        text = next(one["value"] for one in container["env"] if one["name"] == "KERAS_RUN").replace("$$", "$")
        stage = RunStage(container["name"])
        fate = 1.0 if self.calm else self._random.random()
        if fate < 0.06:
            self._end(ref, pod, 137, "", oom=True)
        elif fate < 0.16:
            self._end(ref, pod, self._random.choice((1, 75)), "Traceback: something broke")
        elif fate < 0.22:
            self._step(f"{ref} is evicted")
            self._table.change(ref, ACTOR, status={"phase": "Failed", "reason": "Evicted", "message": "node is full"})
        elif fate < 0.27:
            error = RunError(reason="NoImages", message="no images under s3://datasets/dogs: upload some")
            self._answer(ref, pod, RunResult(stage=stage, ok=False, error=error))
        else:
            self._answer(ref, pod, self._storage.run(msgspec.json.decode(text, type=RunSpec), stage))

    def _answer(self, ref: Ref, pod: Body, result: RunResult) -> None:
        words = msgspec.json.encode(result).decode()
        # Killed after its work was done: the Job tries again and finds it done.
        if result.ok and not self.calm and self._random.random() < 0.05:
            self._end(ref, pod, 1, "")
            return
        self._end(ref, pod, 0 if result.ok else 65, words)

    def _end(self, ref: Ref, pod: Body, code: int, words: str, *, oom: bool = False) -> None:
        self._step(f"{ref} ends with {code} {words[:60]}")
        stage = pod["spec"]["containers"][0]["name"]
        ended = {"exitCode": code, "message": words, "reason": "OOMKilled" if oom else "Error"}
        containers = [{"name": stage, "ready": False, "state": {"terminated": ended}}]
        phase = "Failed" if code else "Succeeded"
        self._table.change(ref, ACTOR, status={"phase": phase, "containerStatuses": containers})

    def _take_away(self, ref: Ref, uid: str) -> None:
        body = self._table.get(ref)
        if body is not None and body["metadata"]["uid"] == uid:
            self._step(f"{ref} is gone")
            self._table.remove(ref, ACTOR)

    def _alive(self, ref: Ref, uid: str) -> Body | None:
        """The pod if it is still that one and neither ended nor told to."""
        body = self._table.get(ref)
        if body is None or body["metadata"]["uid"] != uid or "deletionTimestamp" in body["metadata"]:
            return None
        return None if body["status"]["phase"] in {"Succeeded", "Failed"} else body

    def _seconds(self, least: float, most: float) -> float:
        return self._random.uniform(least, most)


def _wish(pod: Body) -> str:
    """What a pod's annotation says that it is to serve."""
    return str((pod["metadata"].get("annotations") or {}).get(WISH_ANNOTATION, ""))
