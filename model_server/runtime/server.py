"""Puts the parts together: load, serve on both ports, drain."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_server.http_server import HttpServer, Limits
from model_server.runtime.admission import Admission
from model_server.runtime.batching import Batcher, read_batching_options
from model_server.runtime.cpus import available_cpus
from model_server.runtime.errors import Code, ServingError, StuckError, invalid
from model_server.runtime.example_predictor import ExamplePredictor
from model_server.runtime.first_runs import run_first
from model_server.runtime.flags import Flags
from model_server.runtime.grpc_health import HealthService
from model_server.runtime.grpc_server import GrpcServer, connection_limits
from model_server.runtime.grpc_service import ModelService, PredictionService
from model_server.runtime.http2.call import Method
from model_server.runtime.manager import Manager, RetryPolicy
from model_server.runtime.model_config import single_model
from model_server.runtime.monitoring import DEFAULT_PATH, Metrics
from model_server.runtime.open_inference_grpc import OpenInferenceService
from model_server.runtime.predictor import Predictor
from model_server.runtime.protobufs import configuration_message, read_text_proto
from model_server.runtime.rest import VERSION, RestApi, error_response
from model_server.runtime.runs import Run, Runs
from model_server.runtime.servable import LoadOptions, Servable
from model_server.runtime.source import ModelSource
from model_server.runtime.ssl_config import read_ssl_context
from model_server.runtime.warmup import warmup_path
from model_server.runtime.workers import Workers
from model_server.turns import Turns

_LOG = logging.getLogger(__name__)
# The largest body TensorFlow Serving takes is bounded by memory only; 1 GiB is 1,700 images of 224 x 224 x 3 as JSON.
_MAX_BODY_BYTES = 1024 * 1024 * 1024
_LOOK_SECONDS = 0.5
# Runs that take at most so long stay on the event loop's thread. To change threads and back takes 0.2 ms of a
# processor, all of it under Python's lock: longer runs gain from other processors, where there are some.
_SHORT_SECONDS = 0.00025
# Alone there is nothing to gain, but what is due in the meantime (a health probe, a refusal) waits.
_SHORT_SECONDS_ALONE = 0.002


class ModelServer:
    """One process of the runtime."""

    def __init__(self, flags: Flags) -> None:
        """Check the flags and read the configuration files. Raises ServingError when one cannot be used."""
        flags.check()
        self._flags = flags
        self._metrics = Metrics()
        cpus = available_cpus()
        self._load_options = _load_options(flags, cpus)
        loaders = ThreadPoolExecutor(max(1, flags.num_load_threads) + max(1, flags.num_unload_threads), "loader")
        retry = RetryPolicy(flags.max_num_load_retries, max(0.0, flags.load_retry_interval_micros / 1e6))
        self._manager = Manager(self._load, loaders, retry)
        self._batcher = None
        if flags.enable_batching:
            file = Path(flags.batching_parameters_file) if flags.batching_parameters_file else None
            self._batcher = Batcher(read_batching_options(file, cpus), self._metrics)
        self._workers = Workers(flags.rest_api_num_threads or cpus)
        self._runs = Runs()
        self._stuck: set[Run] = set()
        turns = Turns()
        admission = Admission(flags.max_queued_requests, turns)
        predictor = Predictor(
            *(self._manager, self._workers, self._metrics, self._batcher, admission, self._runs, turns),
            longest_ms=flags.max_timeout_in_ms,
            short_seconds=_SHORT_SECONDS_ALONE if cpus == 1 else _SHORT_SECONDS,
        )
        examples = ExamplePredictor(
            self._manager, predictor, self._metrics, check_method=flags.enable_signature_method_name_check
        )
        limits = Limits(body=flags.max_request_bytes or _MAX_BODY_BYTES)
        rest = self._rest(predictor, examples, admission)
        self._http = HttpServer(rest.handle, error_response, limits, turns, rest.at_once)
        prediction = PredictionService(
            self._manager, predictor, examples, self._metrics, as_content=flags.enable_serialization_as_tensor_content
        )
        open_inference = OpenInferenceService(self._manager, predictor, self._metrics, VERSION)
        self._tls = read_ssl_context(Path(flags.ssl_config_file)) if flags.ssl_config_file else None
        from_file = bool(flags.model_config_file)
        self._source = ModelSource(
            self._manager,
            models=None if from_file else single_model(flags.model_name, flags.model_base_path),
            config_file=Path(flags.model_config_file) if from_file else None,
            allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models,
        )
        self._turns = turns
        self._methods: list[Method] = [
            *prediction.methods(admission.refusal),
            *ModelService(self._manager, self._source).methods(),
            *open_inference.methods(admission.refusal),
        ]
        self._connection_limits = connection_limits(flags.channel_arguments(), flags.max_request_bytes or -1)

    def _rest(self, predictor: Predictor, examples: ExamplePredictor, admission: Admission) -> RestApi:
        path = None
        if self._flags.monitoring_config_file:
            config = read_text_proto(
                Path(self._flags.monitoring_config_file), configuration_message("MonitoringConfig")()
            ).prometheus_config
            path = (config.path or DEFAULT_PATH) if config.enable else None
        return RestApi(
            self._manager,
            predictor,
            examples,
            admission,
            self._metrics,
            timeout_ms=max(0, self._flags.rest_api_timeout_in_ms),
            cors=self._flags.rest_api_enable_cors_support,
            metrics_path=path,
        )

    def _load(self, directory: Path) -> Servable:
        servable = Servable(directory, self._load_options)
        if not self._load_options.warmup:
            return servable
        if not warmup_path(directory).exists():
            run_first(servable, self._load_options.warmup_timeout_ms)
            return servable
        start, code = time.perf_counter(), Code.OK
        try:
            servable.warm_up(self._load_options)
        except ServingError as error:
            code = error.code
            servable.close()
            raise
        finally:
            self._metrics.warmed_up(str(directory), code, (time.perf_counter() - start) * 1e6)
        return servable

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain.

        Raises ServingError when it cannot start, and StuckError when it had to end because graphs do not.
        """
        flags = self._flags
        self._source.start()
        polling = asyncio.create_task(
            self._source.poll(flags.model_config_file_poll_wait_seconds, flags.file_system_poll_wait_seconds)
        )
        grpc_server = GrpcServer(
            self._methods,
            self._turns,
            self._connection_limits,
            max_calls=flags.grpc_max_threads or None,
            health=HealthService() if flags.enable_grpc_healthcheck_service else None,
        )
        try:
            if flags.rest_api_port:
                await self._http.start("0.0.0.0", flags.rest_api_port)  # noqa: S104 - a server in a pod
                _LOG.info("Exporting HTTP/REST API at:localhost:%d ...", flags.rest_api_port)
            if flags.port:
                await grpc_server.listen("0.0.0.0", flags.port, self._tls)  # noqa: S104 - a server in a pod
                _LOG.info("Running gRPC ModelServer at 0.0.0.0:%d ...", flags.port)
            if flags.grpc_socket_path:
                await grpc_server.listen_at(flags.grpc_socket_path)
        except OSError as error:
            raise invalid(
                f"cannot listen on --port={flags.port} and --rest_api_port={flags.rest_api_port}: {error}"
            ) from error
        watching = asyncio.create_task(self._watch_runs(stop))
        await stop.wait()
        grace = flags.max_drain_in_ms / 1000
        _LOG.info("stopping: answering what is in flight, for at most %g s", grace)
        polling.cancel()
        watching.cancel()
        await asyncio.gather(self._http.drain(grace), grpc_server.drain(grace))
        _LOG.info("stopped")
        if self._has_to_end():
            raise StuckError(sorted({str(run) for run in self._stuck}))

    async def _watch_runs(self, stop: asyncio.Event) -> None:
        """Have others take the place of long runs, and set `stop` when only the end of the process ends them."""
        while not self._has_to_end():
            await asyncio.sleep(_LOOK_SECONDS)
            overtime = self._flags.max_overtime_in_ms / 1000 or math.inf
            stuck = set(self._runs.look(time.monotonic(), overtime))
            for run in stuck - self._stuck:
                _LOG.error("%s still runs %g s after its deadline: TensorFlow cannot end it", run, overtime)
            self._stuck = stuck
            self._workers.add(self._runs.long)
            if self._batcher is not None:
                self._batcher.add(self._runs.long)
        stop.set()

    def _has_to_end(self) -> bool:
        # A version that a run holds is never unloaded, and whoever swaps versions waits for that.
        held = any(self._manager.is_unloading(run.model, run.version) for run in self._stuck)
        return held or len(self._stuck) >= self._workers.threads


def _load_options(flags: Flags, cpus: int) -> LoadOptions:
    both = flags.tensorflow_session_parallelism
    return LoadOptions(
        tags=tuple(flags.saved_model_tags.split(",")),
        intra_op_parallelism=flags.tensorflow_intra_op_parallelism or both or cpus,
        inter_op_parallelism=flags.tensorflow_inter_op_parallelism or both or cpus,
        warmup=flags.enable_model_warmup,
        warmup_iterations=max(1, flags.num_request_iterations_for_warmup),
        warmup_timeout_ms=flags.max_timeout_in_ms,
    )
