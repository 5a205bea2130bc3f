"""Versions that come, go, are damaged, or are replaced under traffic; and the end of the process."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from typing import Any

import numpy as np
import pytest

from model_server.runtime import protobufs


class SteadyClient(threading.Thread):
    """Sends one prediction after another over keep-alive connections until told to stop, and keeps what went wrong.

    It does what a client behind a Service does: after `Connection: close` it goes elsewhere.
    """

    def __init__(self, port: int, model: str, body: Any, *, leaves_when_closed: bool = False) -> None:
        super().__init__(daemon=True)
        self.failures: list[str] = []
        self.answers: list[bytes] = []
        self.sent_away = False
        self._port, self._path, self._body = port, f"/v1/models/{model}:predict", json.dumps(body)
        self._leaves = leaves_when_closed
        self._done = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._done.is_set():
            try:
                connection.request("POST", self._path, self._body)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            if response.status != 200:
                self.failures.append(answer.decode())
            else:
                self.answers.append(answer)
            if response.getheader("connection") == "close" and self._leaves:
                self.sent_away = True
                return

    def finish(self) -> None:
        self._done.set()
        self.join(30)


@pytest.fixture
def launch_with_config(launch_server, tmp_path, write_config):
    """A server with a polled config file: returns it and a function that rewrites the file."""

    def launch(served: Any, *flags: str) -> Any:
        config = tmp_path / "models.config"
        write_config(config, served)
        server = launch_server(
            f"--model_config_file={config}",
            "--model_config_file_poll_wait_seconds=1",
            "--file_system_poll_wait_seconds=1",
            *flags,
        )
        return server, lambda changed: write_config(config, changed)

    return launch


def _specific(path: Any, *numbers: int) -> tuple[Any, str]:
    versions = " ".join(f"versions: {number}" for number in numbers)
    return path, f"model_version_policy {{ specific {{ {versions} }} }}"


def test_swaps_under_steady_clients_lose_no_request(models, digits, launch_with_config, until):
    base = models / "digits"
    server, rewrite = launch_with_config({"digits": _specific(base, 1)})
    server.wait_available("digits", 1)
    body = {"instances": digits[1]["image"][:1].tolist()}
    clients = [SteadyClient(server.port, "digits", body) for _ in range(3)]
    for client in clients:
        client.start()
    for number in (2, 1, 2):
        rewrite({"digits": _specific(base, number)})
        other = 3 - number
        until(lambda n=number, o=other: server.states("digits").items() >= {n: "AVAILABLE", o: "END"}.items(), "swap")
    for client in clients:
        client.finish()
    assert [failure for client in clients for failure in client.failures] == []
    answers = {answer for client in clients for answer in client.answers}
    seen = sorted(json.loads(answer)["predictions"][0][0] for answer in answers)
    assert seen == pytest.approx(sorted(float(digits[n]["scores"][0][0]) for n in (1, 2)), rel=1e-4)


def test_sigterm_drains_without_a_failed_request(models, launch_with_config):
    server, _ = launch_with_config({"kinds": _specific(models / "kinds", 1)})
    server.wait_available("kinds", 1)
    body = {"signature_name": "slow", "instances": [20]}
    clients = [SteadyClient(server.port, "kinds", body, leaves_when_closed=True) for _ in range(4)]
    for client in clients:
        client.start()
    while not all(client.answers for client in clients):
        clients[0].join(0.05)
    code = server.terminate()
    for client in clients:
        client.finish()
    assert [failure for client in clients for failure in client.failures] == []
    assert all(client.sent_away for client in clients)
    assert code == 0
    assert "stopped" in server.log


def test_models_left_out_are_unloaded_and_a_bad_file_changes_nothing(models, launch_with_config, tmp_path, until):
    both = {"digits": _specific(models / "digits", 1), "kinds": _specific(models / "kinds", 1)}
    server, rewrite = launch_with_config(both)
    server.wait_available("digits", 1)
    server.wait_available("kinds", 1)
    (tmp_path / "models.config").write_text("model_config_list { nonsense")
    until(lambda: "failed to ReloadConfig" in server.log, "the complaint")
    assert server.states("kinds") == {1: "AVAILABLE"}
    rewrite({"digits": both["digits"]})
    until(lambda: server.states("kinds") == {1: "END"}, "kinds is unloaded")
    answer = server.predict("kinds", {"instances": [{"a": [1, 2], "b": 1}]})
    assert (answer.status, answer.error) == (404, "Servable not found for request: Latest(kinds)")
    assert server.states("digits") == {1: "AVAILABLE"}


def test_a_new_folder_is_found_and_the_newest_serves(models, launch_server, tmp_path, digits, until):
    base = tmp_path / "base"
    shutil.copytree(models / "digits" / "1", base / "1")
    (base / "notes").mkdir()
    server = launch_server(f"--model_base_path={base}", "--model_name=d", "--file_system_poll_wait_seconds=1")
    server.wait_available("d", 1)
    shutil.copytree(models / "digits" / "2", tmp_path / "incoming")
    (tmp_path / "incoming").rename(base / "2")
    until(lambda: server.states("d") == {1: "END", 2: "AVAILABLE"}, "2 replaces 1")
    answer = server.predict("d", {"instances": digits[2]["image"].tolist()})
    np.testing.assert_allclose(answer.json["predictions"], digits[2]["scores"], rtol=1e-5)


def _truncate_variables(folder: Any) -> None:
    (data,) = (folder / "variables").glob("variables.data*")
    data.write_bytes(data.read_bytes()[:-64])


def _garble_graph(folder: Any) -> None:
    (folder / "saved_model.pb").write_bytes(b"\x0a\xff not a proto")


def _remove_graph(folder: Any) -> None:
    (folder / "saved_model.pb").unlink()


def _use_an_unknown_op(folder: Any) -> None:
    path = folder / "saved_model.pb"
    model = protobufs.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].graph_def.node[-1].op = "Foo"
    path.write_bytes(model.SerializeToString())


def _remove_variables(folder: Any) -> None:
    (data,) = (folder / "variables").glob("variables.data*")
    data.unlink()


def _flip_a_byte(folder: Any) -> None:
    (path,) = (folder / "variables").glob("variables.data*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _spoil_warmup(folder: Any) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.write_bytes(path.read_bytes()[:-10])


def test_damaged_servables_are_never_served_and_the_old_one_stays(models, digits, launch_with_config, tmp_path, until):
    base = tmp_path / "base"
    damages = {
        3: _truncate_variables,
        4: _garble_graph,
        5: _remove_graph,
        6: _spoil_warmup,
        7: _use_an_unknown_op,
        8: _remove_variables,
        9: _flip_a_byte,
    }
    for number, damage in damages.items():
        shutil.copytree(models / "digits" / "2", base / str(number))
        damage(base / str(number))
    shutil.copytree(models / "digits" / "1", base / "1")
    server, rewrite = launch_with_config(
        {"digits": _specific(base, 1)}, "--max_num_load_retries=1", "--load_retry_interval_micros=1000"
    )
    server.wait_available("digits", 1)
    rewrite({"digits": _specific(base, *damages)})
    until(lambda: {server.states("digits").get(number) for number in damages} == {"END"}, f"all fail\n{server.log}")
    entries = server.get("/v1/models/digits").json["model_version_status"]
    errors = {int(e["version"]): e["status"] for e in entries}
    assert all(errors[number]["error_code"] != "OK" for number in damages)
    assert "damaged" in errors[4]["error_message"]
    assert errors[5]["error_code"] == "NOT_FOUND"
    assert "ends in the middle of record" in errors[6]["error_message"]
    assert "Op type not registered 'Foo'" in errors[7]["error_message"]
    assert "variables.data-00000-of-00001" in errors[8]["error_message"]
    assert errors[9]["error_code"] == "DATA_LOSS"
    assert server.states("digits")[1] == "AVAILABLE"
    answer = server.predict("digits", {"instances": digits[1]["image"].tolist()})
    np.testing.assert_allclose(answer.json["predictions"], digits[1]["scores"], rtol=1e-5)


def test_a_label_may_only_name_an_available_version(models, launch_with_config, until):
    server, rewrite = launch_with_config({"digits": _specific(models / "digits", 1)})
    server.wait_available("digits", 1)
    path, policy = _specific(models / "digits", 1)
    rewrite({"digits": (path, policy + ' version_labels { key: "stable" value: 2 }')})
    until(
        lambda: (
            "Request to assign label to version 2 of model digits, which is not currently available for inference"
            in server.log
        ),
        "the complaint",
    )
    rewrite({"digits": (path, policy + ' version_labels { key: "stable" value: 1 }')})
    until(lambda: server.get("/v1/models/digits/labels/stable").status == 200, "the label")


def test_a_server_that_cannot_start_ends_with_a_sentence(launch_server):
    server = launch_server("--model_config_file=/nowhere", wait=False)
    assert server.process.wait(60) == 255
    assert "Failed to start server. Error: INVALID_ARGUMENT: cannot read the model config file /nowhere" in server.log
