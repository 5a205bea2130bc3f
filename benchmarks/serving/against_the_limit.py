"""The rows in which the runtime stands beside what TensorFlow or NumPy do without it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import Measured
from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.served import Up, bare_loop, made, up
from benchmarks.serving.servers import OWN, with_flags, with_pictures
from model_server.runtime.dtypes import DataType
from model_server.runtime.json_codec import decode_inputs, parse_predict
from model_server.runtime.savedmodel import TensorSpec

_WARM_SECONDS = 1.0
_CLIENTS = 64
_TIMEOUT_MS = 10


def tensor(folder: Path, seconds: float) -> list[Measured]:
    """A tensor of 224 x 224 x 3 over gRPC and as JSON, into a network that costs next to nothing."""
    network = made("thin", folder)
    cost = 1e3 / bare_loop(network, seconds / 4)
    with up(OWN, network) as found:
        _warm(found)
        rest = found.rest(seconds).all_good()
        grpc = found.grpc(seconds).all_good()
    return [
        Measured("224x224x3 floats: the network alone", cost, "ms", "<= 0.2"),
        Measured("224x224x3 floats: REST", rest.rate, "1/s"),
        Measured("224x224x3 floats: gRPC", grpc.rate, "1/s"),
        Measured("224x224x3 floats: gRPC vs REST", grpc.rate / rest.rate, "times", ">= 3"),
    ]


def picture(folder: Path, seconds: float) -> list[Measured]:
    """JPEG bytes into MobileNetV2 at 224 x 224: as the body `image/jpeg`, and in a PredictRequest."""
    network = made("picture", folder)
    with up(with_pictures(), network) as found:
        _warm(found)
        # Before and after each: a shared machine's pace changes within seconds, by more than the server costs.
        bare = [bare_loop(network, seconds / 2)]
        rest = found.rest(seconds).all_good().rate
        bare.append(bare_loop(network, seconds / 2))
        grpc = found.grpc(seconds).all_good().rate
        bare.append(bare_loop(network, seconds / 2))
    around_rest, around_grpc = statistics.fmean(bare[:2]), statistics.fmean(bare[1:])
    return [
        Measured("JPEG, MobileNetV2: bare loop", statistics.fmean(bare), "1/s"),
        Measured("JPEG, MobileNetV2: REST (image/jpeg)", rest, "1/s"),
        Measured("JPEG, MobileNetV2: gRPC", grpc, "1/s"),
        Measured("JPEG, MobileNetV2: REST, share of the bare loop", rest / around_rest, "of 1", ">= 0.85"),
        Measured("JPEG, MobileNetV2: gRPC, share of the bare loop", grpc / around_grpc, "of 1", ">= 0.9"),
    ]


def batching(folder: Path, seconds: float) -> list[Measured]:
    """64 clients against one, with batches of up to 64, in a network for which a batch is far cheaper."""
    network = made("wide", folder)
    single, together = bare_loop(network, seconds / 4), bare_loop(network, seconds / 4, _CLIENTS)
    parameters = folder / "batching.config"
    parameters.write_text(
        f"max_batch_size {{ value: {_CLIENTS} }} batch_timeout_micros {{ value: {_TIMEOUT_MS * 1000} }} "
        f"num_batch_threads {{ value: 1 }} max_enqueued_batches {{ value: {_CLIENTS} }}"
    )
    with up(with_flags("--enable_batching=true", f"--batching_parameters_file={parameters}"), network) as found:
        _warm(found)
        one = found.rest(seconds, clients=1).all_good()
        many = found.rest(seconds, clients=_CLIENTS).all_good()
    bound = 2 * _TIMEOUT_MS + 1e3 / together
    return [
        Measured(
            "batching: an image of a batch of 64 vs alone, bare loop", together * _CLIENTS / single, "times", ">= 5"
        ),
        Measured("batching: 1 client", one.rate, "1/s"),
        Measured("batching: 64 clients", many.rate, "1/s"),
        Measured("batching: 64 clients vs 1", many.rate / one.rate, "times", ">= 4"),
        Measured("batching: 64 clients, p99", many.p99_ms, "ms"),
        Measured("batching: p99 vs 2 timeouts and a batch's compute", many.p99_ms / bound, "times", "<= 1"),
    ]


def parsing(_: Path, seconds: float) -> list[Measured]:
    """JSON to a tensor, in this process."""
    image = np.random.default_rng(1).random((1, 224, 224, 3), np.float32)
    body = json.dumps({"instances": image.tolist()}).encode()
    specs = {"x": TensorSpec("x", "x:0", DataType.FLOAT, (None, 224, 224, 3))}
    if not np.array_equal(decode_inputs(parse_predict(body), specs)["x"][0], image):
        raise BenchmarkError("the tensor that was read is not the one that was written")
    lists = _best(lambda: np.array(json.loads(body)["instances"], np.float32), seconds / 2)
    own = _best(lambda: decode_inputs(parse_predict(body), specs), seconds / 2)
    return [
        Measured("JSON, 224x224x3: json.loads and numpy.array", lists * 1e3, "ms"),
        Measured("JSON, 224x224x3: ours", own * 1e3, "ms"),
        Measured("JSON, 224x224x3: json.loads and numpy.array vs ours", lists / own, "times", ">= 10"),
    ]


def _warm(found: Up) -> None:
    found.rest(_WARM_SECONDS).all_good()


def _best(work: Callable[[], object], seconds: float) -> float:
    """The shortest time of the work: what it takes when nothing else disturbs it."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
