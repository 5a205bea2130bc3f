"""TensorFlow Serving's REST API: paths, answers, error bodies and status codes."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import time
from typing import NamedTuple
from urllib.parse import unquote

import orjson
from google.protobuf import json_format

from model_server.http_messages import Answer, Request, Response
from model_server.runtime.admission import Admission, overloaded
from model_server.runtime.errors import HTTP_STATUS, Code, OverloadedError, ServingError, invalid
from model_server.runtime.example_predictor import ExamplePredictor
from model_server.runtime.images import picture_signature, read_pictures
from model_server.runtime.inference import Method
from model_server.runtime.json_codec import dump
from model_server.runtime.manager import Manager
from model_server.runtime.monitoring import Metrics
from model_server.runtime.npy import MEDIA_TYPE as NPY
from model_server.runtime.open_inference import JSON_LENGTH, find_route, model_metadata, server_metadata
from model_server.runtime.openapi import describe
from model_server.runtime.page import page
from model_server.runtime.predict_request import predict_request
from model_server.runtime.predictor import Predictor
from model_server.runtime.status_proto import metadata_response, signature_def_map, status_response
from model_server.turns import begin

_LIVE = b"/v2/health/live"
_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", re.IGNORECASE
)
_CORS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_JSON = "application/json"
_BYTES = "application/octet-stream"
_INT64_MAX = 2**63 - 1
VERSION = importlib.metadata.version("keras-operator")
_METHODS = {"classify": Method.CLASSIFY, "regress": Method.REGRESS}


def error_response(status: int, message: str) -> Response:
    """An error in TensorFlow Serving's form."""
    return Response(
        status, orjson.dumps({"error": message.encode("utf-8", "replace").decode()}, option=orjson.OPT_INDENT_2)
    )


def _refused(error: OverloadedError, headers: tuple[tuple[str, str], ...]) -> Response:
    failed = error_response(HTTP_STATUS[error.code], str(error))
    return Response(
        failed.status, failed.body, failed.content_type, (*headers, ("Retry-After", str(error.retry_seconds)))
    )


@functools.lru_cache(64)
def _refused_at_once(count: int, wait: int, headers: tuple[tuple[str, str], ...]) -> Response:
    """The answer on top of `count` others; where there is one, many are the same."""
    return _refused(overloaded(count, wait), headers)


class _Prediction(NamedTuple):
    """What a path asks for. `number` is as it was written; `api` is `predict`, `classify` or `regress`."""

    model: str
    number: str | None
    label: str | None
    api: str


@functools.lru_cache(64)
def _prediction(path: str) -> _Prediction | None:
    """The parts of a prediction's path, None for another; clients know few."""
    match = _PREDICTION.fullmatch(path)
    if match is None:
        return None
    label = None if match[3] is None else unquote(match[3])
    return _Prediction(unquote(match[1]), match[2], label, match[4].lower())


@functools.lru_cache(64)
def _refusable(target: bytes) -> tuple[str, str] | None:
    """Model and API where the target of a POST asks for a prediction, which may be refused."""
    path = target.partition(b"?")[0].decode("latin-1")
    if (asked := _prediction(path)) is not None:
        return asked.model, asked.api
    route = find_route(path)
    return (route.model, "infer") if route is not None and route.verb == "infer" else None


class RestApi:
    """The handler of the REST port."""

    def __init__(
        self,
        manager: Manager,
        predictor: Predictor,
        examples: ExamplePredictor,
        admission: Admission,
        metrics: Metrics,
        *,
        timeout_ms: int,
        cors: bool,
        metrics_path: str | None,
    ) -> None:
        """`metrics_path` None serves no metrics; `timeout_ms` bounds each prediction."""
        self._manager = manager
        self._predictor = predictor
        self._examples = examples
        self._admission = admission
        self._metrics = metrics
        self._timeout_ms = timeout_ms
        self._headers = _CORS if cors else ()
        self._live = Response(200, b'{"live":true}', headers=self._headers)
        self._metrics_path = metrics_path

    def at_once(self, method: bytes, target: bytes) -> Response | None:
        """What is answered before its turn: that this process lives, and refusals.

        Behind all predictions that were taken, who asks whether it lives would find it slow, and end it.
        """
        if method == b"GET" and target == _LIVE:
            return self._live
        return self._refuse(method, target)

    def _refuse(self, method: bytes, target: bytes) -> Response | None:
        """The refusal of a prediction where too much is under way; nothing of it has been looked at by then."""
        full = self._admission.full() if method == b"POST" else None
        if full is None:
            return None
        asked = _refusable(target)
        if asked is None:
            return None
        model, api = asked
        known = model if self._manager.knows(model) else ""
        self._metrics.request(known, api, "REST", Code.RESOURCE_EXHAUSTED, 0)
        return _refused_at_once(*full, self._headers)

    def handle(self, request: Request) -> Answer:
        """The answer to one request, or what gives it."""
        return begin(self._handle(request))

    async def _handle(self, request: Request) -> Response:
        if request.path == self._metrics_path:
            return Response(200, self._metrics.page(), "text/plain")
        if request.path == "/" and request.method in {"GET", "HEAD"}:
            return page(name for name, servable in self._manager.serving() if picture_signature(servable.interface))
        if request.path == "/openapi.json" and request.method == "GET":
            return Response(200, describe(self._manager.serving(), VERSION), headers=self._headers)
        if request.path.startswith("/v2"):
            return await self._open_inference(request)
        if not request.path.lower().startswith("/v1/"):
            return error_response(404, f"Not found: {request.path}; this server's paths begin with /v1/models")
        start = time.perf_counter()
        model, api, code, kind = "", "", Code.OK, _JSON
        try:
            if request.method == "OPTIONS":
                return self._preflight(request)
            if request.method == "POST" and (asked := _prediction(request.path)):
                model, api = asked.model, asked.api
                body, kind = await self._predict(asked, request)
            elif request.method == "GET" and (match := _STATUS.fullmatch(request.path)):
                model = unquote(match[1] or "")
                body = self._describe(model, match[2], match[3], metadata=match[4] is not None)
            else:
                raise invalid(f"Malformed request: {request.method} {request.path}")
        except ServingError as error:
            code = error.code
            return self._failed(error)
        finally:
            # Names that no model ever had are not counted apart: anybody could fill the memory with them.
            known = model if self._manager.knows(model) else ""
            self._metrics.request(known, api, "REST", code, (time.perf_counter() - start) * 1e6)
        return Response(200, body, kind, headers=self._headers)

    async def _open_inference(self, request: Request) -> Response:
        """The Open Inference Protocol; its errors have the same form."""
        start, code, model = time.perf_counter(), Code.OK, ""
        kind, headers = _JSON, self._headers
        route = find_route(request.path)
        try:
            match request.method, request.path:
                case "GET", "/v2":
                    body = dump(server_metadata(VERSION), finite=True)
                case "GET", "/v2/health/live":
                    return self._live
                case "GET", "/v2/health/ready":
                    ready = self._manager.all_available()
                    return Response(200 if ready else 503, b'{"ready":true}' if ready else b'{"ready":false}')
                case "POST", _ if route is not None and route.verb == "infer":
                    model = route.model
                    asked = (model, _number(route.number), request.body, request.headers.get(JSON_LENGTH.lower()))
                    body, json_length = await self._predictor.infer(*asked, self._timeout_ms)
                    if json_length is not None:
                        kind, headers = _BYTES, (*headers, (JSON_LENGTH, str(json_length)))
                case "GET", _ if route is not None and route.verb != "infer":
                    with self._manager.lend(route.model, _number(route.number)) as (version, servable):
                        ready_model = {"name": route.model, "ready": True}
                        body = dump(ready_model if route.verb else model_metadata(version, servable), finite=True)
                case _:
                    raise invalid(f"Malformed request: {request.method} {request.path}")
        except ServingError as error:
            code = error.code
            return self._failed(error)
        finally:
            if model:
                known = model if self._manager.knows(model) else ""
                self._metrics.request(known, "infer", "REST", code, (time.perf_counter() - start) * 1e6)
        return Response(200, body, kind, headers)

    def _failed(self, error: ServingError) -> Response:
        if isinstance(error, OverloadedError):
            return _refused(error, self._headers)
        failed = error_response(HTTP_STATUS[error.code], str(error))
        return Response(failed.status, failed.body, failed.content_type, self._headers)

    def _preflight(self, request: Request) -> Response:
        if re.search(r"https?://", request.headers.get("origin", "")):
            return Response(200, b"", headers=self._headers)
        raise ServingError(Code.FAILED_PRECONDITION, "Origin header is missing in CORS preflight")

    async def _predict(self, prediction: _Prediction, request: Request) -> tuple[bytes, str]:
        """The answer and its Content-Type."""
        asked = (prediction.model, _number(prediction.number), prediction.label)
        method = _METHODS.get(prediction.api)
        if method is not None:
            return await self._examples.json(method, *asked, request.body, self._timeout_ms), _JSON
        content_type = request.headers.get("content-type", "")
        pictures = read_pictures(content_type, request.body)
        if pictures is not None:
            return await self._predictor.predict_pictures(*asked, pictures, self._timeout_ms), _JSON
        npy = NPY in request.headers.get("accept", "").lower()
        decode = predict_request(request.body, content_type, npy_answer=npy)
        return await self._predictor.answer(*asked, decode, self._timeout_ms, len(request.body)), NPY if npy else _JSON

    def _describe(self, model: str, number: str | None, label: str | None, *, metadata: bool) -> bytes:
        if not model:
            raise invalid("Missing model name in request.")
        wanted = _number(number)
        if label is not None:
            wanted = self._manager.number_of(model, unquote(label))
        if not metadata:
            return _to_json(status_response(self._manager.versions(model, wanted)))
        with self._manager.lend(model, wanted) as (version, servable):
            spec = _to_json(metadata_response(version, servable).model_spec)
            signatures = _to_json(signature_def_map(servable))
        # Not the whole message: it holds the signatures as an Any, which prints with a type URL.
        return b'{\n"model_spec":' + spec + b',\n"metadata": {"signature_def": ' + signatures + b"}\n}\n"


def _to_json(message: object) -> bytes:
    text: str = json_format.MessageToJson(
        message,  # type: ignore[arg-type]  # generated classes are untyped
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        indent=1,
    )
    return text.encode()


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    number = int(text) if len(text) < 20 else _INT64_MAX + 1
    if number > _INT64_MAX:
        raise invalid(f"Failed to convert version: {text} to numeric.")
    return number
