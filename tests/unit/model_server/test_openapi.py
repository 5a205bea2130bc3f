"""The description at `/openapi.json`."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def described(server) -> Any:
    return server.get("/openapi.json").json


def _signature(schemas: Any, name: str) -> Any:
    (found,) = [schema for schema in schemas["oneOf"] if schema["title"] == name]
    return found


def _predict(described: Any, model: str) -> Any:
    return described["paths"][f"/v1/models/{model}:predict"]["post"]


def test_every_path_of_every_model_is_there_and_answers(server, described):
    assert described["openapi"] == "3.1.0"
    paths = described["paths"]
    assert {path.split("/")[3].partition(":")[0] for path in paths} == {"digits", "kinds", "examples", "types"}
    for path, operations in paths.items():
        if "get" in operations:
            assert server.get(path).status == 200


def test_a_signatures_shapes_and_types_are_in_its_schema(described):
    bodies = _predict(described, "digits")["requestBody"]["content"]
    request = _signature(bodies["application/json"]["schema"], "serving_default")
    assert request["required"] == []
    named, plain = request["properties"]["instances"]["items"]["anyOf"]
    assert named["required"] == ["image"]
    assert named["properties"]["image"] == plain
    level, sizes = plain, []
    while level["type"] == "array":
        sizes.append((level["minItems"], level["maxItems"]))
        level = level["items"]
    assert (sizes, level) == ([(8, 8), (8, 8), (1, 1)], {"type": "number"})
    assert _signature(bodies["application/json"]["schema"], "serving_bytes")["required"] == ["signature_name"]


def test_several_inputs_are_one_object_and_integers_have_limits(described):
    operation = _predict(described, "kinds")
    request = _signature(operation["requestBody"]["content"]["application/json"]["schema"], "serving_default")
    row = request["properties"]["instances"]["items"]
    assert row["required"] == ["a", "b"]
    assert row["properties"]["b"] == {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
    answer = _signature(operation["responses"]["200"]["content"]["application/json"]["schema"], "serving_default")
    assert [form["required"] for form in answer["oneOf"]] == [["outputs"], ["predictions"]]


def test_only_models_that_take_pictures_say_so(described):
    assert set(_predict(described, "digits")["requestBody"]["content"]) == {
        "application/json",
        "application/x-npy",
        "image/jpeg",
        "image/png",
        "multipart/form-data",
    }
    assert set(_predict(described, "kinds")["requestBody"]["content"]) == {"application/json"}


def test_a_scalar_input_has_no_rows(described):
    schema = _predict(described, "kinds")["requestBody"]["content"]["application/json"]["schema"]
    assert "instances" not in _signature(schema, "scalar")["properties"]
    titles = {one["title"] for one in schema["oneOf"]}
    assert "rare" not in titles  # complex numbers cannot be written as JSON
