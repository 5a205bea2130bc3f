"""What the rollout benchmark makes of what vegeta and ghz write down."""

import base64
import json
import math
from xml.etree import ElementTree as ET

import pytest

from benchmarks.rollouts.answers import Answer, Spell, between, not_wanted, of_ghz, of_vegeta, percentile
from benchmarks.rollouts.errors import RolloutsError
from benchmarks.rollouts.picture import picture
from benchmarks.rollouts.rows import Row
from benchmarks.rollouts.scenarios import SCENARIOS, SOURCES, STORE_SECONDS, STORE_STOPPED, store_stopped
from benchmarks.rollouts.servables import FAILING_WORDS


def vegeta_line(body: object, code: int = 200, error: str = "") -> bytes:
    result = {
        "attack": "",
        "seq": 7,
        "code": code,
        "timestamp": "2026-01-02T03:04:05.500000001+01:00",
        "latency": 2_500_000,
        "bytes_out": 10,
        "bytes_in": 20,
        "error": error,
        "body": base64.b64encode(body if isinstance(body, bytes) else json.dumps(body).encode()).decode() or None,
        "method": "POST",
        "url": "http://198.18.0.1:8501/v1/models/network:predict",
        "headers": {},
    }
    return json.dumps(result).encode()


def test_a_good_answer_names_its_version():
    (answer,) = of_vegeta([vegeta_line({"predictions": [[0.1, 0.9, -2.0]]}), b"\n"])
    assert answer == Answer(sent=1767319445.5, seconds=0.0025, fault="", version=2)


@pytest.mark.parametrize(
    ("body", "code", "error", "words"),
    [
        ({"error": "no such version"}, 404, "404 Not Found", 'HTTP 404: {"error": "no such version"}'),
        (b"", 0, "dial tcp: connection refused", "HTTP 0: dial tcp: connection refused"),
        ({"predictions": []}, 200, "", "not one prediction"),
        ({"predictions": [[]]}, 200, "", "not one prediction"),
        (b"<html>", 200, "", "not one prediction"),
    ],
)
def test_what_is_no_good_answer_is_a_fault(body: object, code: int, error: str, words: str):
    (answer,) = of_vegeta([vegeta_line(body, code, error)])
    assert answer.fault.startswith(words)
    assert answer.version == 0


def test_ghz_says_what_became_of_each_call():
    details = [
        {"timestamp": "2026-01-02T03:04:05Z", "latency": 1_000_000, "error": "", "status": "OK"},
        {"timestamp": "2026-01-02T03:04:06Z", "latency": 9, "error": "rpc error: gone", "status": "Unavailable"},
    ]
    good, bad = of_ghz(json.dumps({"count": 2, "details": details}).encode(), 2)
    assert (good.fault, good.seconds) == ("", 0.001)
    assert bad.fault == "Unavailable: rpc error: gone"
    assert of_ghz(b'{"count": 0, "details": null}', 0) == []


def _attempts(*errors: str) -> bytes:
    details = [
        {"timestamp": "2026-01-02T03:04:05Z", "latency": 9, "error": error, "status": "Unavailable" if error else "OK"}
        for error in errors
    ]
    return json.dumps({"details": details}).encode()


CLOSING, DRAINING, GONE = (
    f"rpc error: {words}" for words in ("transport is closing", "the connection is draining", "x")
)


def test_ghz_counts_attempts_and_a_call_that_was_made_again_is_one_call():
    assert [one.fault for one in of_ghz(_attempts(CLOSING, "", DRAINING, ""), 2)] == ["", ""]
    # As many attempts as calls: nobody has made it again.
    assert [one.fault for one in of_ghz(_attempts(CLOSING, ""), 2)] == [f"Unavailable: {CLOSING}", ""]
    assert [one.fault for one in of_ghz(_attempts(CLOSING, CLOSING, ""), 2)] == [f"Unavailable: {CLOSING}", ""]


@pytest.mark.parametrize("calls", [1, 3])
def test_attempts_that_do_not_add_up_are_no_answers(calls):
    with pytest.raises(RolloutsError, match=f"{calls} calls and reports 2 attempts"):
        of_ghz(_attempts(GONE, ""), calls)


def test_an_answer_may_be_of_any_version_that_was_wanted_while_it_was_under_way():
    spells = [
        Spell(-math.inf, 10, frozenset({1})),
        Spell(10, 20, frozenset({1, 2})),
        Spell(20, math.inf, frozenset({2})),
    ]
    right = [
        Answer(9, 0.5, "", 1),
        Answer(9.9, 0.2, "", 2),
        Answer(15, 1, "", 1),
        Answer(19.9, 5, "", 1),
        Answer(30, 1, "", 2),
        Answer(30, 1, "HTTP 500"),
    ]
    wrong = [Answer(9, 0.5, "", 2), Answer(20.1, 1, "", 1), Answer(15, 1, "", 3)]
    assert not_wanted([*right, *wrong], spells) == wrong


def test_percentiles_are_of_what_was_sent_then():
    answers = [Answer(at, at / 1000, "") for at in range(1, 101)]
    assert percentile(answers, 0.99) == 0.099
    assert percentile(answers, 1.0) == 0.1
    assert percentile([], 0.99) is None
    assert [one.sent for one in between(answers, 5, 7)] == [5, 6, 7]


def test_a_row_counts_the_bad_versions_own_errors_apart():
    scenario = next(one for one in SCENARIOS if one.passing == {4})
    answers = {
        "kept": [
            Answer(1, 0.1, "", 2),
            Answer(11, 0.2, "", 4),
            Answer(12, 0.3, f"HTTP 400: {FAILING_WORDS}"),
            Answer(30, 0.1, "", 4),
        ],
        "fresh": [Answer(13, 0.1, "HTTP 0: refused")],
        "grpc": [],
    }
    row = Row(scenario, answers, began=10, ended=20)
    figures = {figure.name.removeprefix(f"{scenario.name}: "): figure for figure in row.figures(requests=5)}
    assert figures["requests"].value == 5
    assert figures["failed"].value == 1
    assert figures["errors of the bad version"].value == 1
    assert figures["answers of a version not wanted"].value == 1
    assert figures["time to full"].value == 10
    assert figures["REST p99 during"].value == pytest.approx(300)
    assert figures["gRPC p99 during"].value is None


def test_a_canary_is_drawn_second_by_second():
    scenario = next(one for one in SCENARIOS if one.passing == {4})
    kept = [Answer(100 + at / 10, 0.002, "", 2) for at in range(-50, 200)]
    kept += [Answer(102 + at / 10, 0.004, "", 4) for at in range(80)]
    kept += [Answer(105.5, 0.001, f"HTTP 400: {FAILING_WORDS}")]
    row = Row(scenario, {"kept": kept, "fresh": [], "grpc": []}, began=100, ended=111.5)
    drawn = ET.fromstring(picture(row))
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"— version 2", "— version 4", "answers with an error", "10 s"} <= set(words)
    curves = [line.get("points", "").split() for line in drawn.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in curves] == [25, 25, 25, 25, 25]
    ours, theirs = ([float(point.split(",")[1]) for point in points] for points in curves[:2])
    assert ours[6] < ours[8] == theirs[8] < theirs[6], "half of the answers are the new version's from second 2 on"
    errors = [float(point.split(",")[1]) for point in curves[2]]
    assert errors.index(min(errors)) == 10, "second 5, the eleventh that has answers"


def test_every_scenario_begins_with_a_version_that_is_there():
    newest = 1
    for scenario in SCENARIOS:
        assert scenario.newest >= newest, "a version cannot be unpublished"
        newest = scenario.newest
        assert {scenario.before, scenario.after, *scenario.passing} <= set(range(1, newest + 1))
    assert newest == max(SOURCES)
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)


def test_a_store_that_was_stopped_for_another_time_is_another_row():
    recorded = next(one for one in SCENARIOS if one.name == STORE_STOPPED)
    assert recorded.pause == STORE_SECONDS == 600
    assert store_stopped(STORE_SECONDS).name == STORE_STOPPED
    assert (store_stopped(60).name, store_stopped(60).pause) == ("store stopped for 60 s", 60)
