"""How often which class was predicted, as the runtime counts it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from model_server.runtime.predicted_classes import NAMED_CLASSES, predicted_classes

TWO = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
NAMES = ("cat", "dog")
MANY = [f"class {number}" for number in range(200)]
COUNTED: dict[str, tuple[dict[str, Any], Any, dict[str, int]]] = {
    "each row once": ({"scores": TWO}, NAMES, {"cat": 1, "dog": 2}),
    "beside what is no matrix": ({"label": np.array(["a"], object), "scores": TWO}, NAMES, {"cat": 1, "dog": 2}),
    "the first of two alike": ({"scores": TWO, "again": 1 - TWO}, NAMES, {"cat": 1, "dog": 2}),
    "no names": ({"scores": TWO}, None, {}),
    "as many columns as there are names": ({"features": TWO}, ("cat", "dog", "cow"), {}),
    "numbers that are no probabilities": ({"counts": TWO.astype(np.int64)}, NAMES, {}),
    "one picture without a batch": ({"scores": TWO[0]}, NAMES, {}),
    "no row": ({"scores": TWO[:0]}, NAMES, {}),
    "classes beyond the last that has a name": (
        {"scores": np.eye(200, dtype=np.float32)[[0, NAMED_CLASSES - 1, NAMED_CLASSES, 199]]},
        MANY,
        {"class 0": 1, f"class {NAMED_CLASSES - 1}": 1, "": 2},
    ),
}


@pytest.mark.parametrize(("outputs", "names", "counts"), COUNTED.values(), ids=COUNTED.keys())
def test_the_likeliest_class_of_each_row_is_counted(outputs, names, counts):
    assert predicted_classes(outputs, names) == counts


def _counts(server: Any) -> Counter[str]:
    page = server.get("/monitoring/prometheus/metrics").body.decode()
    found = re.findall(r':keras:serving:predicted_class_count\{model_name="digits",class="([^"]*)"\} (\d+)', page)
    return Counter({name: int(count) for name, count in found})


def test_a_server_counts_the_classes_of_every_answer_by_name(server, digits):
    """Version 2 names its classes, version 1 does not."""
    before = _counts(server)
    images, scores = digits[2]["image"], digits[2]["scores"]
    wanted = Counter(["nought", "<b>one</b>", "zw\u00f6"][index] for index in scores.argmax(axis=1).tolist())
    rows = {"instances": images.tolist()}
    assert server.predict("digits/versions/2", rows).status == 200
    assert server.predict("digits/versions/1", rows).status == 200
    assert server.predict("digits/versions/2", b"{}").status == 400
    assert _counts(server) - before == wanted
    assert wanted.total() == len(images)
