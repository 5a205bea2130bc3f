"""The Open Inference Protocol, version 2, over REST."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from model_server.runtime.open_inference_types import DATATYPES


def _infer(server: Any, model: str, *inputs: Any, **more: Any) -> Any:
    return server.request("POST", f"/v2/models/{model}/infer", {"inputs": list(inputs), **more})


def _tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_a_model_answers_and_repeats_the_callers_id(server, digits):
    image = digits[2]["image"]
    flat = _tensor("image", "FP32", list(image.shape), image.ravel().tolist())
    nested = {**flat, "data": image.tolist()}
    for given in (flat, nested):
        answer = _infer(server, "digits", given, id="one").json
        (output,) = answer["outputs"]
        assert (answer["model_name"], answer["model_version"], answer["id"]) == ("digits", "2", "one")
        assert (output["name"], output["datatype"], output["shape"]) == ("scores", "FP32", [5, 3])
        np.testing.assert_allclose(np.reshape(output["data"], (5, 3)), digits[2]["scores"], rtol=1e-5)
    old = _infer(server, "digits/versions/1", flat).json
    assert (old["model_version"], "id" in old) == ("1", False)
    np.testing.assert_allclose(np.reshape(old["outputs"][0]["data"], (5, 3)), digits[1]["scores"], rtol=1e-5)


_VALUES: dict[str, Any] = {"BOOL": True, "BYTES": "naïve", "FP16": 0.5, "BF16": -2.0, "FP32": 0.1, "FP64": 1e300}


@pytest.mark.parametrize(("dtype", "name"), list(DATATYPES.items()))
def test_every_datatype_comes_back_as_it_went(server, dtype, name):
    value = _VALUES.get(name, 7)
    label = {"float": "float32", "double": "float64", "half": "float16"}.get(dtype.label, dtype.label)
    for shape, kind in (([2], "vector"), ([1, 2], "matrix")):
        tensor = _tensor("x", name, shape, [value, value])
        answer = _infer(server, "types", tensor, parameters={"signature_name": f"{label}_{kind}"})
        assert answer.json["outputs"] == [{**tensor, "name": "y"}]


def test_only_the_outputs_that_are_asked_for_come(server):
    tensors = [_tensor("a", "FP32", [1, 2], [1, 2]), _tensor("b", "INT32", [1], [3])]
    answer = _infer(server, "kinds", *tensors, outputs=[{"name": "label"}]).json
    assert answer["outputs"] == [_tensor("label", "BYTES", [1], ["3"])]


def test_metadata_and_health(server):
    described = server.get("/v2").json
    assert (described["name"], described["extensions"]) == ("keras-operator", ["binary_tensor_data"])
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    assert server.get("/v2/models/digits/ready").json == {"name": "digits", "ready": True}
    assert server.get("/v2/models/digits/versions/1").json == {
        "name": "digits",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8, 1]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
    }


def test_a_server_whose_model_cannot_load_is_alive_but_not_ready(launch_server, tmp_path, until):
    (tmp_path / "m" / "1").mkdir(parents=True)
    server = launch_server(f"--model_base_path={tmp_path / 'm'}", "--model_name=m", "--max_num_load_retries=0")
    until(lambda: server.states("m") == {1: "END"}, "the load has failed")
    assert server.get("/v2/health/live").status == 200
    assert server.get("/v2/health/ready").status == 503
    assert server.get("/v2/models/m/ready").status == 404


_GOOD = _tensor("x", "FP32", [2], [1, 2])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the request must be a JSON object, found []"),
        ({}, "inputs must be a list, found null"),
        ({"inputs": [1]}, "an entry of inputs must be a JSON object, found 1"),
        ({"inputs": [{}]}, "the name of an input must be a string, found null"),
        ({"inputs": [{"name": "x"}]}, 'the datatype of input "x" must be a string, found null'),
        ({"inputs": [{**_GOOD, "datatype": "FP8"}]}, 'input "x": datatype FP8 is unknown, take one of BOOL, '),
        ({"inputs": [{**_GOOD, "shape": 2}]}, 'the shape of input "x" must be a list, found 2'),
        ({"inputs": [{**_GOOD, "shape": [-2]}]}, 'input "x": a shape is a list of sizes from 0 on, found [-2]'),
        ({"inputs": [{**_GOOD, "shape": [True]}]}, 'input "x": a shape is a list of sizes from 0 on, found [true]'),
        ({"inputs": [{**_GOOD, "shape": [3]}]}, 'input "x": shape [3] takes 3 values, data has 2'),
        ({"inputs": [{**_GOOD, "shape": [1, 2]}]}, 'input "x": expected shape [-1], found [1,2]'),
        ({"inputs": [{**_GOOD, "data": 1}]}, 'the data of input "x" must be a list, found 1'),
        ({"inputs": [{**_GOOD, "data": [1, "2"]}]}, 'input "x": JSON Value: [1, "2"]'),
        ({"inputs": [{**_GOOD, "data": [[1], [2, 3]]}]}, "or it is ragged"),
        ({"inputs": [{**_GOOD, "datatype": "FP64"}]}, 'input "x": expected type float, found double'),
        ({"inputs": [_GOOD, _GOOD]}, 'input "x" is given twice'),
        ({"inputs": [{**_GOOD, "name": "z"}]}, "Sent extra: {z}. Missing but required: {x}."),
        ({"inputs": [_GOOD], "outputs": [{"name": "z"}]}, "output tensor alias not found in signature: z"),
        ({"inputs": [_GOOD], "outputs": [{}]}, "the name of an output must be a string, found null"),
        ({"inputs": [_GOOD], "id": 1}, "id must be a string, found 1"),
        ({"inputs": [_GOOD], "parameters": 1}, "parameters must be a JSON object, found 1"),
        ({"inputs": [_GOOD], "parameters": {"signature_name": 1}}, "parameters.signature_name must be a string"),
        ({"inputs": [_GOOD], "parameters": {"signature_name": "no"}}, 'Serving signature key "no" not found.'),
    ],
)
def test_a_mistake_is_named(server, body, message):
    answer = server.request("POST", "/v2/models/types/infer", json.dumps(body))
    assert message in answer.error
    assert answer.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/ghost", 404),
        ("GET", "/v2/models/digits/versions/9/ready", 404),
        ("POST", "/v2/models/ghost/infer", 404),
        ("GET", "/v2/models/digits/infer", 400),
        ("POST", "/v2/models/digits", 400),
        ("GET", "/v2/nothing", 400),
    ],
)
def test_wrong_paths_have_their_code(server, method, path, status):
    body: Any = {"inputs": []} if method == "POST" else None
    assert server.request(method, path, body).status == status
