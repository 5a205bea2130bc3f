"""The agent as a process, with a real store folder and a runtime that comes and goes."""

from __future__ import annotations

import http.server
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model_store
from model_server.agent.runtime_config import models_config, write_atomically
from model_server.runtime.model_config import Specific, parse_model_config


@pytest.fixture
def store(tmp_path, models) -> Path:
    folder: Path = tmp_path / "store"
    folder.mkdir()
    model_store.publish(model_store.open_store(folder.as_uri()), 1, models / "digits" / "1", {})
    return folder


class FakeRuntime:
    """Answers the status page with whatever a test says."""

    def __init__(self) -> None:
        self.page: dict[str, Any] | None = None
        self.asked = 0
        runtime = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                runtime.asked += 1
                body = json.dumps(runtime.page or {"error": "?"}).encode()
                self.send_response(200 if runtime.page else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Tests read the agent's log, not this one's."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def says(self, state: str, code: str = "OK", message: str = "", number: int = 1) -> None:
        status = {"error_code": code, "error_message": message}
        self.page = {"model_version_status": [{"version": str(number), "state": state, "status": status}]}

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def runtime():
    runtime = FakeRuntime()
    yield runtime
    runtime.close()


def _probes(agent) -> tuple[int, int, int]:
    return tuple(agent.get(path).status for path in ("/livez", "/startupz", "/readyz"))


def test_from_the_store_to_a_prediction_with_the_real_runtime(
    store, launch_agent, launch_server, tmp_path, digits, until
):
    agent = launch_agent(store.as_uri(), 1, runtime_port=1)
    until(lambda: agent.get("/startupz").status == 200, "the servable is fetched")
    assert agent.get("/readyz").status == 503
    agent.terminate()

    # The same folder again, as after a restart of the container, and now with a runtime.
    server = launch_server(
        f"--model_config_file={tmp_path / 'models' / 'models.config'}",
        f"--monitoring_config_file={tmp_path / 'models' / 'monitoring.config'}",
    )
    agent = launch_agent(store.as_uri(), 1, runtime_port=server.port)
    until(lambda: agent.get("/readyz").status == 200, "ready")
    answer = server.predict("digits", {"instances": digits[1]["image"].tolist()})
    np.testing.assert_allclose(answer.json["predictions"], digits[1]["scores"], rtol=1e-5)
    assert server.get("/monitoring/prometheus/metrics").status == 200
    status = agent.get("/status").json
    assert (status["model"], status["wanted"], status["phase"], status["error"]) == ("digits", 1, "Serving", None)
    (version,) = status["versions"]
    assert version["state"] == "AVAILABLE"
    assert version["bytes"] == model_store.read_manifest(model_store.open_store(store.as_uri()), 1).bytes
    assert version["fetchSeconds"] >= 0
    assert version["loadSeconds"] >= 0
    assert list(status["times"]) == ["started", "fetched", "configured", "available"]

    def counted() -> int:
        server.predict("digits", {"instances": digits[1]["image"].tolist()})
        requests: int = agent.get("/traffic/60").json["requests"]
        return requests

    # Whoever compares versions asks this of pods that have one for good, too.
    until(counted, "answers that are counted")


def test_readiness_follows_the_runtime(store, launch_agent, runtime, until):
    agent = launch_agent(store.as_uri(), 1, runtime.port)
    until(lambda: agent.get("/startupz").status == 200, "fetched")
    assert _probes(agent) == (200, 200, 503)
    runtime.says("AVAILABLE", number=7)
    until(lambda: len(agent.get("/status").json["versions"]) == 2, "the other version is seen")
    assert agent.get("/readyz").status == 503, "another version does not count"
    runtime.says("LOADING")
    until(lambda: agent.get("/status").json["versions"][0]["state"] == "LOADING", "loading is seen")
    assert agent.get("/readyz").status == 503
    runtime.says("AVAILABLE")
    until(lambda: agent.get("/readyz").status == 200, "ready")
    runtime.page = None
    until(lambda: agent.get("/readyz").status == 503, "a runtime that was started anew has nothing yet")


def test_a_load_that_fails_is_told_with_the_runtimes_words(store, launch_agent, runtime, until):
    runtime.says("END", "INVALID_ARGUMENT", "Op type not registered 'Foo'")
    agent = launch_agent(store.as_uri(), 1, runtime.port)
    error = until(lambda: agent.get("/status").json["error"], "the error")
    assert error["reason"] == "LoadFailed"
    assert "Op type not registered 'Foo'" in error["message"]
    assert b"LoadFailed" in agent.get("/readyz").body
    asked = runtime.asked
    until(lambda: runtime.asked > asked + 2, "more looks")
    assert agent.log.count("LoadFailed") == 1, "one line for a change, not one for each look"


def test_an_unpublished_version_waits_and_says_so_when_it_ends(store, launch_agent, tmp_path, until):
    message = tmp_path / "termination-log"
    agent = launch_agent(store.as_uri(), 2, 1, {"KERAS_TERMINATION_LOG": str(message)})
    error = until(lambda: agent.get("/status").json["error"], "the error")
    assert error["reason"] == "VersionNotPublished"
    assert "Version 2 is not published" in error["message"]
    assert _probes(agent) == (200, 503, 503)
    assert not (tmp_path / "models" / "models.config").exists()
    assert agent.terminate() == 0
    assert message.read_text().startswith("VersionNotPublished: Version 2 is not published")


def test_a_damaged_version_is_never_configured(store, launch_agent, tmp_path, until):
    (store / "1" / "saved_model.pb").write_bytes(b"damaged")
    agent = launch_agent(store.as_uri(), 1, 1)
    error = until(lambda: agent.get("/status").json["error"], "the error")
    assert error["reason"] == "Corrupt"
    assert _probes(agent) == (200, 503, 503)
    assert not (tmp_path / "models" / "servables" / "digits" / "1").exists()
    assert not (tmp_path / "models" / "models.config").exists()


def test_a_store_that_cannot_be_reached_is_tried_again(launch_agent, store, tmp_path, models, until):
    """An endpoint where nobody listens: retryable, so the log has the error once and the fetch goes on."""
    env = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    agent = launch_agent("s3://bucket/digits", 1, 1, env, endpoint="http://127.0.0.1:1")
    error = until(lambda: agent.get("/status").json["error"], "the error")
    assert error["reason"] == "StoreUnreachable"
    assert agent.get("/livez").status == 200
    assert agent.log.count("StoreUnreachable") == 1
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(10) == 0


def test_a_fetch_that_fails_recovers_by_itself(models, tmp_path, monkeypatch):
    """The slow retry, with its waits shortened: published while the agent was already waiting."""
    import asyncio

    from model_server.agent import agent as module
    from model_server.agent.fetching import fetch_servable
    from model_server.agent.options import parse_options
    from model_server.agent.wishes import OneVersion

    monkeypatch.setattr(module, "_SLOW_RETRY_SECONDS", 0.05)
    store_folder = tmp_path / "late"
    store_folder.mkdir()
    options = parse_options(
        [
            f"--store-uri={store_folder.as_uri()}",
            "--model-name=digits",
            "--version=1",
            f"--models-dir={tmp_path}",
            f"--config-file={tmp_path / 'models.config'}",
            "--runtime-url=http://127.0.0.1:1",
        ]
    )
    tries: list[str] = []

    def fetch(number: int) -> module.Fetched:
        if len(tries) == 3:
            model_store.publish(model_store.open_store(store_folder.as_uri()), 1, models / "digits" / "1", {})
        tries.append(agent.error.reason if agent.error else "")
        return fetch_servable(options, number)

    agent = module.Agent(options, OneVersion(1), fetch)

    async def scenario() -> None:
        looked = asyncio.Event()
        monkeypatch.setattr(module.Agent, "_look", lambda *_: looked.set())  # the first look comes after the files
        work = asyncio.create_task(agent.run())
        await asyncio.wait_for(looked.wait(), 30)
        work.cancel()

    asyncio.run(scenario())
    assert agent.configured
    assert tries == ["", *["VersionNotPublished"] * 3]
    assert agent.error is None
    assert agent.status().versions[0].state == "FETCHED"
    assert (tmp_path / "servables" / "digits" / "1" / "saved_model.pb").exists()


@pytest.mark.parametrize("name", ["digits", 'a "b" \\ c', "größe"])
def test_the_config_file_reads_back_as_what_was_meant(tmp_path, name):
    base = tmp_path / name
    path = tmp_path / "models.config"
    write_atomically(path, models_config(name, base, 12))
    (model,) = parse_model_config(path.read_text(), "test")
    assert (model.name, model.base_path, model.policy) == (name, base, Specific(frozenset({12})))
    assert [entry.name for entry in tmp_path.iterdir()] == ["models.config"]


@pytest.mark.parametrize(
    "wrong", ["--version=0", "--version=x", "--runtime-url=ftp://x", "--model-name=a/b", "--unknown=1"]
)
def test_a_wrong_command_line_is_refused(wrong, capsys):
    from model_server.agent.options import parse_options

    right = {
        "--store-uri": "file:///s",
        "--model-name": "m",
        "--version": "1",
        "--models-dir": "/m",
        "--config-file": "/c",
    }
    flag, _, value = wrong.partition("=")
    with pytest.raises(SystemExit):
        parse_options([f"{k}={v}" for k, v in {**right, flag: value}.items()])
    assert flag in capsys.readouterr().err


def test_other_paths_and_methods_are_refused(store, launch_agent):
    agent = launch_agent(store.as_uri(), 1, 1)
    assert agent.get("/metrics").status == 404
    assert agent.request("POST", "/status", b"{}").status == 405


def test_a_second_pod_takes_the_servable_from_the_cache(store, launch_agent, tmp_path, until):
    (tmp_path / "cache").mkdir()
    flags = [f"--cache-dir={tmp_path / 'cache'}", "--cache-gigabytes=1"]
    brought = []
    for pod in ("first", "second"):
        agent = launch_agent(store.as_uri(), 1, runtime_port=1, flags=flags, models=tmp_path / pod)
        until(lambda agent=agent: agent.get("/startupz").status == 200, "the servable is fetched")
        (version,) = agent.get("/status").json["versions"]
        brought.append((version["cachedBytes"], version["bytes"]))
        agent.terminate()
        for file in (tmp_path / "store" / "1").rglob("*"):
            # The manifest is the store's, whatever is in the cache; the second pod has nothing else from there.
            if file.is_file():
                file.unlink()
    size = brought[0][1]
    assert brought == [(0, size), (size, size)]


def test_a_cache_that_cannot_be_used_costs_nothing(store, launch_agent, tmp_path, until):
    (tmp_path / "cache").write_bytes(b"no folder")
    agent = launch_agent(store.as_uri(), 1, runtime_port=1, flags=[f"--cache-dir={tmp_path / 'cache'}"])
    until(lambda: agent.get("/startupz").status == 200, "the servable is fetched")
    assert agent.get("/status").json["error"] is None
    assert agent.log.count("takes nothing more, and all goes on without") == 1
