"""The rows that take time: memory over many changes of versions, and minutes of more requests than can be answered."""

from __future__ import annotations

import csv
import http.client
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import numpy as np

from benchmarks.figures import Measured
from benchmarks.serving import load
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.processes import Running
from benchmarks.serving.served import Network, Server, Up, made, up
from benchmarks.serving.servers import from_config, with_flags, with_pictures
from devcluster.build import binary
from devcluster.places import here
from model_server.agent.runtime_client import ask_runtime
from model_server.agent.runtime_config import models_config, write_atomically
from model_server.runtime.protobufs import (
    ModelServerConfig,
    model_management_pb2,
    parse_text_proto,
    prediction_services,
)

FEW_SWAPS = 10
_SECONDS_A_SWAP = 30.0
_TIMES_CAPACITY = 3
_QUEUE = 64
_MOST_WORKERS = 2000
_LOOK_SECONDS = 1.0


def swaps(folder: Path, count: int) -> list[Measured]:
    """Memory after `count` changes between two versions, with an answer after each, against that after 10."""
    network = made("small", folder)
    second = network.servable / "2"
    if not second.exists():
        shutil.copytree(network.servable / "1", second)
    config = folder / "models.config"
    write_atomically(config, models_config("default", network.servable, 1))
    with up(from_config(config), network) as found:
        memories = dict(_swap(found, network, count))
    first, last = memories[FEW_SWAPS], memories[count]
    return [
        Measured(f"hot swaps: resident after {FEW_SWAPS}", first, "MB"),
        Measured(f"hot swaps: resident after {count}", last, "MB"),
        Measured(f"hot swaps: memory after {count} vs after {FEW_SWAPS}", last / first, "times", "<= 1.2"),
    ]


def _swap(found: Up, network: Network, count: int) -> Iterator[tuple[int, float]]:
    """The memory after 10 changes and after all: the new version is loaded and answers, the old one is gone."""
    _, models = prediction_services()
    url = f"http://127.0.0.1:{found.ports.rest}"
    with grpc.insecure_channel(f"127.0.0.1:{found.ports.grpc}") as channel:
        reload = models.ModelServiceStub(channel).HandleReloadConfigRequest
        for done in range(1, count + 1):
            version = 1 + done % 2
            config = parse_text_proto(
                models_config("default", network.servable, version), ModelServerConfig(), "config"
            )
            request = model_management_pb2.ReloadConfigRequest()
            request.config.CopyFrom(config)
            reload(request, timeout=_SECONDS_A_SWAP)
            _wait_for(found.running, url, version)
            _ask_once(found)
            if done in {FEW_SWAPS, count}:
                yield done, found.running.memory()


def _wait_for(process: Running, url: str, version: int) -> None:
    end = time.monotonic() + _SECONDS_A_SWAP
    while True:
        states = {number: one.state for number, one in (ask_runtime(url, "default") or {}).items()}
        if states.pop(version, "") == "AVAILABLE" and set(states.values()) <= {"END"}:
            return
        process.check()
        if time.monotonic() > end:
            raise BenchmarkError(f"version {version} did not take over within {_SECONDS_A_SWAP:.0f} s: {states}")
        time.sleep(0.002)


def _ask_once(found: Up) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", found.ports.rest, timeout=30)
    try:
        connection.request("POST", found.server.path, (found.network.folder / found.server.body).read_bytes())
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != 200:
        raise BenchmarkError(f"a prediction between two changes got HTTP {status}")


def overload_pictures(folder: Path, seconds: float, peak_seconds: float) -> list[Measured]:
    """Three times as many pictures as can be answered, which cost compute."""
    server = with_pictures(f"--max_queued_requests={_QUEUE}")
    return _overload("JPEG, MobileNetV2", server, made("picture", folder), seconds, peak_seconds)


def overload_small(folder: Path, seconds: float, peak_seconds: float) -> list[Measured]:
    """The same with small images, whose refusal costs nearly as much as their answer."""
    server = with_flags(f"--max_queued_requests={_QUEUE}")
    return _overload("28x28", server, made("small", folder), seconds, peak_seconds)


def _overload(what: str, server: Server, network: Network, seconds: float, peak_seconds: float) -> list[Measured]:
    with up(server, network) as found:
        found.rest(1.0).all_good()
        peak = found.rest(peak_seconds).all_good().rate
        url = f"http://127.0.0.1:{found.ports.rest}{server.path}"
        pace = (f"-rate={round(_TIMES_CAPACITY * peak)}/1s", f"-max-workers={_MOST_WORKERS}")
        memories: list[float] = []
        stop = threading.Event()
        looking = threading.Thread(target=_look, args=(found.running, memories, stop), daemon=True)
        looking.start()
        spent, began = found.running.processor_seconds(), time.monotonic()
        try:
            results = load.attack(url, network.folder / server.body, server.content_type, pace, seconds)
        finally:
            stop.set()
            looking.join()
        # Near 1 it is the server that was measured; far below, its clients or what else ran there.
        busy = (found.running.processor_seconds() - spent) / (time.monotonic() - began)
    answers = of_results(_lines(results))
    # The first tenth fills the queue and the buffers that stay.
    settled = memories[len(memories) // 10]
    return [
        Measured(f"overload, {what}: lasted", seconds, "s", ">= 300"),
        Measured(f"overload, {what}: peak", peak, "1/s"),
        Measured(f"overload, {what}: offered", answers.offered / seconds, "1/s"),
        Measured(f"overload, {what}: the server's share of its processor", busy, "of 1"),
        Measured(f"overload, {what}: good answers vs peak", len(answers.good) / seconds / peak, "of 1", ">= 0.9"),
        Measured(f"overload, {what}: neither answered nor refused", answers.lost, "requests", "<= 0"),
        Measured(f"overload, {what}: p99 of what is admitted", answers.p99_ms, "ms"),
        Measured(
            f"overload, {what}: p99 of what is admitted vs a full queue",
            answers.p99_ms * peak / _QUEUE / 1e3,
            "times",
            "<= 1.5",
        ),
        Measured(f"overload, {what}: memory at the end vs when it began", memories[-1] / settled, "times", "<= 1.05"),
    ]


class Answers(msgspec.Struct):
    """Of an attack: the milliseconds of each good answer, how many were refused with 429, and what else there was."""

    good: list[float]
    refused: int
    lost: int

    @property
    def offered(self) -> int:
        """All requests."""
        return len(self.good) + self.refused + self.lost

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the good answers; 0 without any."""
        return float(np.quantile(self.good, 0.99)) if self.good else 0.0


def of_results(lines: Iterator[str]) -> Answers:
    """Lines of `vegeta encode -to=csv`: time, status, nanoseconds, and more."""
    good, others = [], Counter[str]()
    for row in csv.reader(lines):
        if row[1] == "200":
            good.append(int(row[2]) / 1e6)
        else:
            others[row[1]] += 1
    refused = others.pop("429", 0)
    return Answers(good, refused, others.total())


def _lines(results: Path) -> Iterator[str]:
    command = [str(binary(here(), "vegeta")), "encode", "-to=csv", str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise BenchmarkError(f"`vegeta encode` ended with status {process.returncode}")


def _look(server: Running, memories: list[float], stop: threading.Event) -> None:
    memories.append(server.memory())
    while not stop.wait(_LOOK_SECONDS):
        memories.append(server.memory())
