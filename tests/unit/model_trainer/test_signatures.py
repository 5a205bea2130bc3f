"""What signatures take, as a version's status says it."""

from __future__ import annotations

from typing import Any

import pytest

from model_trainer.signatures import describe_inputs


def signature(**inputs: tuple[str, list[int] | None]) -> dict[str, Any]:
    """As a manifest has it."""
    return {
        "inputs": {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in inputs.items()},
        "outputs": {},
    }


LINES = {
    "two signatures": (
        {
            "serving_default": signature(image=("float32", [-1, 28, 28, 1])),
            "serving_bytes": signature(image_bytes=("string", [-1])),
        },
        ("serving_bytes image_bytes string [-1]", "serving_default image float32 [-1,28,28,1]"),
    ),
    "two inputs": ({"f": signature(b=("int64", []), a=("bool", None))}, ("f a bool of any rank", "f b int64 []")),
    "nothing": ({}, ()),
    "a name with a space": ({"f": signature(**{"a b 5%": ("bool", [])})}, ("f a%20b%205%25 bool []",)),
    "a signature with a space": ({"f g": signature(a=("bool", []))}, ()),
    "too many": ({"f": signature(**{f"x{n}": ("bool", []) for n in range(65)})}, ()),
    "too long": ({"f": signature(**{"x" * 600: ("bool", [])})}, ()),
}


@pytest.mark.parametrize(("signatures", "lines"), LINES.values(), ids=LINES.keys())
def test_inputs_are_lines(signatures, lines):
    assert describe_inputs(signatures) == lines
