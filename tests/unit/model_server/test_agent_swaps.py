"""One pod goes from version to version without a restart, and never is without one that answers."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import model_store
from model_server.agent.local_copies import LocalCopies
from model_server.agent.wishes import RolloutFolder
from tests.unit.model_server.conftest import Running
from tests.unit.model_server.test_agent import FakeRuntime


@pytest.fixture
def store(tmp_path, models) -> Path:
    """Versions 1 and 2, and a version 3 that is whole and cannot be loaded."""
    folder: Path = tmp_path / "store"
    folder.mkdir()
    opened = model_store.open_store(folder.as_uri())
    for number in (1, 2):
        model_store.publish(opened, number, models / "digits" / str(number), {})
    broken = tmp_path / "broken"
    shutil.copytree(models / "digits" / "1", broken)
    (broken / "saved_model.pb").write_bytes(b"\xff" * 64)
    model_store.publish(opened, 3, broken, {})
    return folder


@pytest.fixture
def rollout(tmp_path) -> Path:
    folder: Path = tmp_path / "rollout"
    folder.mkdir()
    (folder / "start").write_text("1")
    (folder / "wish").write_text("")
    return folder


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    fake = FakeRuntime()
    yield fake
    fake.close()


def _wish(rollout: Path, number: int) -> None:
    (rollout / "new").write_text(str(number))
    (rollout / "new").replace(rollout / "wish")


def _configured(tmp_path: Path) -> list[int]:
    return [int(one) for one in re.findall(r"versions: (\d+)", (tmp_path / "models" / "models.config").read_text())]


def _pages(runtime: FakeRuntime, **states: str) -> None:
    ok = {"error_code": "OK", "error_message": ""}
    runtime.page = {
        "model_version_status": [{"version": name[1:], "state": state, "status": ok} for name, state in states.items()]
    }


class _Client(threading.Thread):
    """Asks again and again, and keeps what was not answered, or while the pod was not ready."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        super().__init__(name="client")
        self.asked, self.failed = 0, 0
        self._ask, self._ended = ask, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.01):
            self.asked += 1
            self.failed += not self._ask()

    def end(self) -> None:
        self._ended.set()
        self.join()


def _served(agent: Running) -> tuple[int | None, int]:
    status = agent.get("/status").json
    return status["serving"], status["swaps"]


def test_versions_change_places_under_a_client_and_the_way_back_needs_no_store(
    store, rollout, launch_agent, launch_server, tmp_path, digits, until
):
    agent = launch_agent(store.as_uri(), rollout, runtime_port=1)
    until(lambda: agent.get("/startupz").status == 200, "the servable is fetched")
    agent.terminate()
    server = launch_server(
        f"--model_config_file={tmp_path / 'models' / 'models.config'}",
        f"--monitoring_config_file={tmp_path / 'models' / 'monitoring.config'}",
        "--model_config_file_poll_wait_seconds=1",
    )
    agent = launch_agent(store.as_uri(), rollout, runtime_port=server.port)
    until(lambda: agent.get("/readyz").status == 200, "ready")
    assert _served(agent) == (1, 0)
    body = {"instances": digits[1]["image"].tolist()}
    client = _Client(lambda: server.predict("digits", body).status == 200 and agent.get("/readyz").status == 200)
    client.start()
    try:
        _wish(rollout, 2)
        until(lambda: _served(agent) == (2, 1), "version 2 in the place of version 1")
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii").split()[0])
        memory = agent.get("/status").json["memory"]
        assert 50 * 2**20 < memory < pages * os.sysconf("SC_PAGE_SIZE"), "what the runtime has, not what it may address"
        assert _configured(tmp_path) == [2]
        assert server.states("digits") == {1: "END", 2: "AVAILABLE"}

        # Broken: it is tried, and version 2 goes on.
        _wish(rollout, 3)
        error = until(lambda: agent.get("/status").json["error"], "the error")
        assert error["reason"] == "LoadFailed"
        assert error["message"].startswith("the runtime cannot load version 3 of digits, and version 2 goes on: ")
        assert _served(agent) == (2, 1)
        until(lambda: _configured(tmp_path) == [2], "the old configuration")

        shutil.rmtree(store)
        _wish(rollout, 1)
        until(lambda: _served(agent) == (1, 2), "version 1 from its local copy")
        assert agent.get("/status").json["error"] is None
        until(lambda: _kept(tmp_path) == {"1", "2"}, "the one before is kept, others are not")
    finally:
        client.end()
    assert client.asked > 10
    assert client.failed == 0


def _kept(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "models" / "servables" / "digits").iterdir()}


@pytest.fixture
def swapping(store, rollout, launch_agent, runtime, tmp_path, until) -> Running:
    """An agent that serves version 1 and has told the runtime to load version 2, too."""
    _pages(runtime, v1="AVAILABLE")
    agent: Running = launch_agent(store.as_uri(), rollout, runtime.port)
    until(lambda: agent.get("/readyz").status == 200, "ready")
    _wish(rollout, 2)
    until(lambda: _configured(tmp_path) == [1, 2], "both versions in the configuration")
    return agent


def test_the_old_version_stays_until_the_new_one_answers(swapping, runtime, tmp_path, until):
    _pages(runtime, v1="AVAILABLE", v2="LOADING")
    until(lambda: swapping.get("/status").json["versions"][1]["state"] == "LOADING", "loading is seen")
    assert swapping.get("/readyz").status == 200
    assert _configured(tmp_path) == [1, 2]
    _pages(runtime, v1="AVAILABLE", v2="AVAILABLE")
    until(lambda: _configured(tmp_path) == [2], "only the new version in the configuration")
    assert _served(swapping) == (1, 0), "the old one may still answer"
    _pages(runtime, v1="END", v2="AVAILABLE")
    until(lambda: _served(swapping) == (2, 1), "the new version alone")


def test_a_runtime_that_ends_while_it_loads_is_not_made_to_load_it_again(swapping, runtime, tmp_path, until):
    """As when both do not fit into its memory: started anew, it must not try the same again."""
    _pages(runtime, v1="AVAILABLE", v2="LOADING")
    until(lambda: swapping.get("/status").json["versions"][1]["state"] == "LOADING", "loading is seen")
    _pages(runtime)
    until(lambda: _configured(tmp_path) == [1], "the old configuration")
    assert swapping.get("/status").json["error"]["message"] == (
        "the runtime cannot load version 2 of digits, and version 1 goes on: the runtime ended while it loaded it; "
        "raise spec.serving.resources.limits.memory if it was that."
    )
    _pages(runtime, v1="AVAILABLE")
    until(lambda: _served(swapping) == (1, 0), "version 1 again")


def test_another_wish_ends_what_is_under_way(swapping, runtime, rollout, tmp_path, until):
    _pages(runtime, v1="AVAILABLE", v2="LOADING")
    _wish(rollout, 1)
    until(lambda: _configured(tmp_path) == [1], "the old configuration")
    assert swapping.get("/status").json["error"] is None
    assert swapping.get("/readyz").status == 200


def test_a_version_that_ended_once_before_is_waited_for(swapping, runtime, rollout, tmp_path, until):
    """The runtime remembers versions that it unloaded as END: that is no failure of the next try."""
    _pages(runtime, v1="AVAILABLE", v2="AVAILABLE")
    until(lambda: _configured(tmp_path) == [2], "only the new version")
    _pages(runtime, v1="END", v2="AVAILABLE")
    until(lambda: _served(swapping) == (2, 1), "version 2")
    _wish(rollout, 1)
    until(lambda: _configured(tmp_path) == [2, 1], "both versions again")
    asked = runtime.asked
    until(lambda: runtime.asked > asked + 5, "more looks")
    assert swapping.get("/status").json["error"] is None
    _pages(runtime, v1="AVAILABLE", v2="END")
    until(lambda: _served(swapping) == (1, 2), "version 1")


def test_a_pod_starts_with_the_start_and_follows_its_wish_alone(rollout):
    folder = RolloutFolder(rollout)
    assert folder.wanted() == 1
    (rollout / "start").write_text("2")
    assert folder.wanted() == 1, "a rollout that is over must not swap what runs"
    _wish(rollout, 3)
    assert folder.wanted() == 3
    (rollout / "wish").write_text("")
    assert folder.wanted() == 3
    assert RolloutFolder(rollout).wanted() == 2, "an agent that is started anew"


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1.5", "²"])
def test_what_is_no_number_is_no_wish(rollout, text):
    (rollout / "start").write_text(text)
    assert RolloutFolder(rollout).wanted() is None


def test_a_missing_folder_is_no_wish(tmp_path):
    assert RolloutFolder(tmp_path / "missing").wanted() is None


def test_what_was_removed_is_not_here_any_more(tmp_path):
    copies = LocalCopies(tmp_path)
    for name in ("1", "2", ".fetching-3", ".invalid-1-ab"):
        (tmp_path / name).mkdir()
    copies.verified(1, 10)
    copies.verified(2, 20)
    assert (copies.size(1), copies.size(2), copies.size(3)) == (10, 20, None)
    assert copies.keep_only((2, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fetching-3", "2"]
    assert (copies.size(1), copies.size(2)) == (None, 20)
    assert not copies.keep_only((2, 3))
