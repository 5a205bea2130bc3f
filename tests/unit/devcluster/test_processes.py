import os
import subprocess
import sys

import pytest

from devcluster import processes
from devcluster.errors import NotReadyError
from devcluster.places import Places
from devcluster.processes import Component, Process

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def places(tmp_path):
    return Places(cache=tmp_path / "cache", tree=tmp_path / "tree")


@pytest.fixture
def sleeper(places):
    component = Component("sleeper", SLEEPER)
    processes.start(places, component, enter=[])
    assert processes.until(lambda: bool(processes.of_component(processes.of_cluster(places.name), component)), 10)
    yield component
    for process in processes.of_cluster(places.name):
        processes.stop(process)


def living(places: Places, component: Component) -> list[Process]:
    return processes.of_component(processes.of_cluster(places.name), component)


def test_a_started_component_is_found_by_its_marks_alone(places, sleeper):
    (process,) = living(places, sleeper)
    assert process.name == "sleeper"
    assert process.mark == sleeper.mark()
    assert processes.alive(process)


def test_processes_of_another_cluster_are_not_seen(places, sleeper, tmp_path):
    other = Places(cache=places.cache, tree=tmp_path / "other")
    assert processes.of_cluster(other.name) == []
    assert living(places, sleeper)


def test_what_a_component_starts_inherits_its_mark_but_is_not_taken_for_it(places, sleeper):
    child = subprocess.Popen(["sleep", "600"], env=processes.environment(places, sleeper.mark(), {}))
    try:
        assert processes.until(lambda: len(processes.of_cluster(places.name)) == 2, 10)
        assert len(living(places, sleeper)) == 1
    finally:
        child.kill()
        child.wait()


def test_stop_ends_a_process(places, sleeper):
    (process,) = living(places, sleeper)
    processes.stop(process)
    assert not processes.alive(process)
    assert living(places, sleeper) == []


def test_a_reused_pid_is_another_process(places, sleeper):
    (process,) = living(places, sleeper)
    earlier = Process(**{**vars(process), "started": process.started - 1})
    assert not processes.alive(earlier)


def test_stop_leaves_a_stranger_with_the_same_pid_alone(places, sleeper, monkeypatch):
    (process,) = living(places, sleeper)
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    processes.stop(Process(**{**vars(process), "started": process.started - 1}))
    assert sent == []


def test_the_environment_of_the_caller_stays_outside(places, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    environment = processes.environment(places, "x", {"EXTRA": "1"})
    assert "HTTPS_PROXY" not in environment
    assert environment["EXTRA"] == "1"


def test_waiting_for_a_component_that_ended_shows_its_last_words(places):
    component = Component("short", (sys.executable, "-c", "print('no such flag')"))
    processes.start(places, component, enter=[])
    assert processes.until(lambda: "no such flag" in processes.tail(places, "short", 5), 10)
    with pytest.raises(NotReadyError, match=r"short ended(.|\n)*no such flag"):
        processes.wait(places, "short", lambda: False, lambda: False, 1)


def test_waiting_gives_up_after_its_time(places):
    with pytest.raises(NotReadyError, match="was not ready after 0 s"):
        processes.wait(places, "slow", lambda: False, lambda: True, 0)


def test_a_component_is_another_when_its_command_environment_or_files_change(tmp_path):
    plain = Component("a", ("a",))
    variants = [
        Component("a", ("a", "-v")),
        Component("a", ("a",), env={"A": "1"}),
        Component("a", ("a",), files={tmp_path / "f": "text"}),
        Component("a", ("a",), files={tmp_path / "f": "other"}),
    ]
    assert len({variant.mark() for variant in [plain, *variants]}) == 5


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        pytest.param("7 (sh) S " + " ".join(["0"] * 18) + " 4711 0", 4711, id="plain name"),
        pytest.param("7 (a ) (b) S " + " ".join(["0"] * 18) + " 4711 0", 4711, id="name with parentheses"),
    ],
)
def test_the_start_time_is_read(stat, expected):
    assert processes.start_ticks(stat) == expected


def test_the_pid_in_the_deepest_namespace_is_read():
    assert processes.innermost_pid("Name:\tpause\nNSpid:\t4242\t1\n") == 1
    assert processes.innermost_pid("Name:\tx\n") == 0


def test_an_environment_with_odd_bytes_is_read():
    assert processes.parse_environment(b"A=1\0B=x=y\0junk\0C=\xff\0") == {"A": "1", "B": "x=y", "C": "\ufffd"}


def test_only_the_last_lines_of_a_long_log_are_shown(places):
    places.logs.mkdir(parents=True)
    processes.log_path(places, "a").write_text("\n".join(f"line {number}" for number in range(10_000)))
    assert processes.tail(places, "a", 2) == "line 9998\nline 9999"
