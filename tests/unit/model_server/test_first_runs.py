"""A servable without warm-up records has run once before it answers anybody."""

from __future__ import annotations

import pytest

from model_server.runtime.first_runs import run_first
from model_server.runtime.servable import LoadOptions, Servable


@pytest.fixture
def loaded(models):
    opened = []

    def load(name: str, number: int) -> Servable:
        opened.append(Servable(models / name / str(number), LoadOptions()))
        return opened[-1]

    yield load
    for servable in opened:
        servable.close()


def test_signatures_are_run_whose_shapes_bound_what_it_takes(loaded):
    servable = loaded("kinds", 1)
    bounded = {name for name, one in servable.interface.signatures.items() if one.bounded}
    answered = run_first(servable, 0)
    assert "echo" in answered
    assert set(answered) <= bounded
    assert "slow" not in answered, "a loop whose rounds its input says"


def test_what_does_not_answer_zeros_is_left_to_requests(loaded):
    servable = loaded("digits", 2)
    assert "serving_bytes" in servable.interface.signatures
    assert "serving_bytes" not in run_first(servable, 0), "an empty string is no picture"


@pytest.mark.parametrize("flags", [(), ("--enable_model_warmup=false",)], ids=["as usual", "without warm-up"])
def test_a_version_is_asked_before_it_is_available(models, launch_server, flags):
    server = launch_server("--model_name=kinds", f"--model_base_path={models / 'kinds'}", *flags)
    server.wait_available("kinds", 1)
    asked = "kinds/1 brings no warm-up records; asked with zeros: " in server.log
    assert asked == (not flags)
