"""What the serving benchmark makes of what vegeta and ghz write down, and of servers' answers."""

import json

import pytest

from benchmarks.serving.errors import BenchmarkError
from benchmarks.serving.load import Outcome, of_ghz, of_vegeta
from benchmarks.serving.over_time import Answers, of_results
from benchmarks.serving.served import Network, numbers


def vegeta_report(**changed: object) -> bytes:
    report = {
        "latencies": {"total": 1, "mean": 1, "50th": 1_000_000, "99th": 12_500_000, "max": 1, "min": 1},
        "duration": 1_900_000_000,
        "wait": 100_000_000,
        "requests": 400,
        "success": 1,
        "status_codes": {"200": 400},
        "errors": [],
    }
    return json.dumps(report | changed).encode()


def test_vegeta_counts_good_answers_over_the_time_until_the_last():
    outcome = of_vegeta(vegeta_report())
    assert outcome == Outcome(answered=400, faults={}, seconds=2.0, p99_ms=12.5)
    assert outcome.rate == 200
    assert outcome.all_good() is outcome


@pytest.mark.parametrize("codes", [{"200": 399, "429": 1}, {"200": 399, "0": 1}, {}])
def test_a_request_without_a_good_answer_stops_a_row(codes: dict[str, int]):
    with pytest.raises(BenchmarkError, match=f"{codes.get('200', 0)} requests were answered"):
        of_vegeta(vegeta_report(status_codes=codes, errors=["connection refused"])).all_good()


def test_ghz_tells_good_calls_from_others():
    report = {
        "count": 10,
        "total": 2_000_000_000,
        "statusCodeDistribution": {"OK": 9, "Unavailable": 1},
        "errorDistribution": {"rpc error: gone": 1},
        "latencyDistribution": [{"percentage": 95, "latency": 1}, {"percentage": 99, "latency": 3_000_000}],
    }
    outcome = of_ghz(json.dumps(report).encode())
    assert outcome == Outcome(9, {"Unavailable rpc error: gone": 1}, 2.0, 3.0)
    assert outcome.rate == 4.5


def test_an_attack_tells_refused_requests_from_lost_ones():
    lines = [f"1767319445500000000,{code},{latency},10,20,,,a,0\n" for code, latency in
             ((200, 1_000_000), (200, 3_000_000), (429, 5), (503, 5), (0, 5))]  # fmt: skip
    answers = of_results(iter(lines))
    assert answers == Answers(good=[1.0, 3.0], refused=1, lost=2)
    assert answers.offered == 5
    assert answers.p99_ms == pytest.approx(2.98)


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": [[0.25, 0.75]]},
        {"outputs": [{"name": "x", "shape": [1, 2], "data": [0.25, 0.75]}]},
        [[0.25, 0.75]],
        {"predictions": [{"class": "b", "classes": [{"class": "b", "probability": 0.75},
                                                    {"class": "a", "probability": 0.25}]}]},
    ],
    ids=["predictions", "open inference", "list", "named classes"],
)  # fmt: skip
def test_answers_of_every_form_are_held_against_tensorflow(tmp_path, answer: object):
    (tmp_path / "expected.json").write_text("[0.25, 0.75]")
    network = Network(tmp_path)
    network.check(numbers(answer), "a server")
    (tmp_path / "expected.json").write_text("[0.75, 0.25]")
    with pytest.raises(BenchmarkError, match="a server answers"):
        network.check(numbers(answer), "a server")
