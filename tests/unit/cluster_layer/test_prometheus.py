"""Asking Prometheus: by its documented HTTP API, with everything that may stand in the way, and a real one."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from keras_operator.cluster.prometheus import Answer, Prometheus

from model_server.runtime.errors import Code
from model_server.runtime.monitoring import Metrics
from tests.unit.cluster_layer.conftest import Received, Server
from tests.unit.cluster_layer.prometheus_process import exporters, of_exporters, prometheus, until


def vector(*values: str) -> dict[str, Any]:
    result = [{"metric": {"pod": f"pod-{index}"}, "value": [1772366400.123, one]} for index, one in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def of_type(kind: str, result: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}, "warnings": ["some"]}


HISTOGRAM = [{"metric": {}, "histogram": [1772366400, {"count": "3", "sum": "1", "buckets": []}]}]
NO_API = "answers something else than its HTTP API: see --prometheus-url"
BAD = {"status": "error", "errorType": "bad_data", "error": 'invalid parameter "query":\n 1:5: parse error'}

ANSWERS: dict[str, tuple[int, Any, Answer]] = {
    "one": (200, vector("0.25"), Answer((0.25,))),
    "none": (200, vector(), Answer()),
    "three": (200, vector("1", "2", "1e+06"), Answer((1.0, 2.0, 1e6))),
    "infinity": (200, vector("+Inf"), Answer((float("inf"),))),
    "a scalar": (200, of_type("scalar", [1772366400, "3"]), Answer((3.0,))),
    "a stretch": (
        200,
        of_type("matrix", [{"metric": {}, "values": [[1, "1"], [2, "1"]]}]),
        Answer(wrong="gives a stretch of time, and one number is wanted: put rate(…) around it"),
    ),
    "a text": (200, of_type("string", [1, "up"]), Answer(wrong="gives a string, and one number is wanted")),
    "a histogram": (
        200,
        of_type("vector", HISTOGRAM),
        Answer(wrong="gives a histogram, and one number is wanted: put histogram_quantile(…) around it"),
    ),
    "a query that cannot be read": (
        400,
        BAD,
        Answer(wrong='is refused by Prometheus: invalid parameter "query": 1:5: parse error'),
    ),
    "a query that cannot be evaluated": (
        422,
        {"status": "error", "errorType": "execution", "error": "many-to-many matching " + "x" * 1000},
        Answer(wrong=f"is refused by Prometheus: {('many-to-many matching ' + 'x' * 1000)[:300]}"),
    ),
    "too slow": (503, BAD, Answer(silent="could not evaluate the query in time (HTTP status 503)")),
    "no token": (
        401,
        "no",
        Answer(silent="does not let the operator in (HTTP status 401): see --prometheus-token-file"),
    ),
    "another server": (404, "?", Answer(silent="is not where --prometheus-url says (HTTP status 404)")),
    "broken": (500, "oh", Answer(silent="answers with HTTP status 500")),
    "another page": (200, "<html>", Answer(silent=NO_API)),
    "another page that is no error": (400, "<html>", Answer(silent=NO_API)),
    "another JSON": (200, {"epoch": 3}, Answer(silent=NO_API)),
    "no success": (200, {"status": "error", "error": "x"}, Answer(silent=NO_API)),
    "a value that is no number": (200, vector("many"), Answer(silent=NO_API)),
    "a value without a time": (200, of_type("scalar", ["1"]), Answer(silent=NO_API)),
}


@pytest.mark.parametrize(("status", "body", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers_of_the_api(server: Server, status: int, body: Any, answer: Answer) -> None:
    server.always(body, status)
    assert await Prometheus(server.url).ask(["up"]) == [answer]


async def test_no_number_is_one_that_is_not_a_number(server: Server) -> None:
    server.always(vector("NaN"))
    (answer,) = await Prometheus(server.url).ask(["0 / 0"])
    assert [isnan(sample) for sample in answer.samples] == [True]


async def test_how_it_is_asked(server: Server, tmp_path: Path) -> None:
    """In the body of a POST, with a token that is read each time."""
    server.always(vector("1"))
    token = tmp_path / "token"
    token.write_text("first\n")
    asked = Prometheus(f"{server.url}/prefix/", token_file=token)
    query = 'sum(up{pod=~"a|b"}) & + %'
    assert await asked.ask([query]) == [Answer((1.0,))]
    token.write_text("second")
    await asked.ask(["up"])
    one, other = server.received
    assert (one.method, one.path, one.query) == ("POST", "/prefix/api/v1/query", {})
    assert parse_qs(one.body.decode()) == {"query": [query], "timeout": ["4s"]}
    assert [each.headers["Authorization"] for each in (one, other)] == ["Bearer first", "Bearer second"]


async def test_what_stands_in_the_way_of_one_query_stands_in_the_way_of_the_next(server: Server) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        if b"first" in received.body:
            return web.json_response(vector("1"))
        return web.Response(status=500)

    server.answer = answer
    away = Answer(silent="answers with HTTP status 500")
    assert await Prometheus(server.url).ask(["first", "second", "third"]) == [Answer((1.0,)), away, away]
    assert len(server.received) == 2


async def test_a_query_that_is_wrong_does_not_keep_the_next_from_being_asked(server: Server) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        return web.json_response(BAD, status=400) if b"first" in received.body else web.json_response(vector("1"))

    server.answer = answer
    wrong, right = await Prometheus(server.url).ask(["first", "second"])
    assert wrong.wrong
    assert right == Answer((1.0,))


async def test_a_redirect_is_not_followed(server: Server) -> None:
    server.always({}, 302, {"Location": f"{server.url}/elsewhere"})
    assert await Prometheus(server.url).ask(["up"]) == [Answer(silent="answers with HTTP status 302")]
    assert len(server.received) == 1


async def test_an_answer_that_is_too_long_is_cut_off(server: Server) -> None:
    server.always(vector(*["1"] * 30_000))
    (answer,) = await Prometheus(server.url).ask(["up"])
    assert answer.wrong == "gives more than 1 MiB, and one number is wanted: put sum(…) or max(…) around it"


async def test_one_that_hangs_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras_operator.cluster.prometheus._TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("keras_operator.cluster.prometheus._WAIT_SECONDS", 0.01)
    monkeypatch.setattr("keras_operator.cluster.prometheus._ASK_AT_ONCE", 2)

    async def never(_: Received) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = never
    asked = Prometheus(server.url)
    answers = await asyncio.gather(*(asked.ask(["up", "down"]) for _ in range(3)))
    late, busy = Answer(silent="gave no answer within 0.2 s"), Answer(silent="is being asked much else")
    assert answers == [[late, late], [late, late], [busy, busy]]
    server.always(vector("1"))
    assert await asked.ask(["up"]) == [Answer((1.0,))], "and the turns are given back"


async def test_one_that_is_away(server: Server) -> None:
    assert await Prometheus("http://127.0.0.1:1").ask(["up", "up"]) == [Answer(silent="cannot be reached")] * 2


@pytest.mark.parametrize("token", [None, b"\xff", b"a\nb"], ids=["none", "no text", "two lines"])
async def test_a_token_that_cannot_be_read(server: Server, tmp_path: Path, token: bytes | None) -> None:
    server.always(vector("1"))
    file = tmp_path / "token"
    if token is not None:
        file.write_bytes(token)
    (answer,) = await Prometheus(server.url, token_file=file).ask(["up"])
    assert answer.silent.startswith("cannot be asked (")
    assert "see --prometheus-token-file" in answer.silent


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that signs itself; its key is beside it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "certificate"


async def test_only_a_server_with_a_trusted_certificate_is_believed(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key"))

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(vector("1"))

    application = web.Application()
    application.router.add_post("/api/v1/query", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    assert await Prometheus(url, ca_file=certificate).ask(["up"]) == [Answer((1.0,))]
    (stranger,) = await Prometheus(url).ask(["up"])
    assert stranger.silent == "has a certificate that the operator does not trust: see --prometheus-ca-file"
    await runner.cleanup()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one, which has read the pages of two runtimes: `new-1` answered 30 of 130 with an error, `old-1` none."""
    pages = {}
    for pod, errors in {"new-1": 30, "old-1": 0}.items():
        pages[pod] = Metrics()
        for code, count in ((Code.OK, 100), (Code.INTERNAL, errors)):
            for _ in range(count):
                pages[pod].request("dogs", "predict", "REST", code, 1000.0)
    with exporters(pages) as ports, prometheus(tmp_path_factory.mktemp("prometheus"), of_exporters(ports)) as url:
        read = 'count({__name__=":tensorflow:serving:request_count"})'
        until(lambda: asyncio.run(Prometheus(url).ask([read])) == [Answer((3.0,))], "both runtimes read")
        yield url


COUNT = '{__name__=":tensorflow:serving:request_count",pod=~"new-1"'
REAL = {
    "a ratio": (f'sum({COUNT},status!="OK"}}) / sum({COUNT}}})', Answer((30 / 130,))),
    "a scalar": ("scalar(vector(2))", Answer((2.0,))),
    "a series for each status": (f"{COUNT}}}", Answer((30.0, 100.0))),
    "a percentile": (
        'histogram_quantile(0.5, {__name__=":tensorflow:serving:request_latency_bucket",pod="old-1"}) < bool 2000',
        Answer((1.0,)),
    ),
    "no data": ('up{pod="nobody"}', Answer()),
    "infinity": ("vector(1) / 0", Answer((float("inf"),))),
    "a stretch": (
        "up[1m]",
        Answer(wrong="gives a stretch of time, and one number is wanted: put rate(…) around it"),
    ),
    "a text": ('"up"', Answer(wrong="gives a string, and one number is wanted")),
}


@pytest.mark.parametrize(("query", "answer"), REAL.values(), ids=REAL.keys())
async def test_a_real_one_answers(real: str, query: str, answer: Answer) -> None:
    (given,) = await Prometheus(real).ask([query])
    assert (sorted(given.samples), given.silent, given.wrong) == (list(answer.samples), answer.silent, answer.wrong)


async def test_a_real_one_says_what_is_wrong_with_a_query(real: str) -> None:
    wrong, many = await Prometheus(real).ask(["sum(up", "up + on(job) group_left() up"])
    assert wrong.wrong.startswith("is refused by Prometheus: ")
    assert "parse error" in wrong.wrong
    assert many.wrong.startswith("is refused by Prometheus: ")
    assert "many-to-many" in many.wrong or "duplicate series" in many.wrong
    assert "\n" not in wrong.wrong + many.wrong
