"""Predictions over REST, compared with TensorFlow's own."""

from __future__ import annotations

import base64
import gzip
import json
import math
import subprocess

import numpy as np
import pytest


def test_keras_floats_in_rows_and_columns_match_tensorflow(server, digits):
    image = digits[2]["image"]
    rows = server.predict("digits", {"instances": image.tolist()})
    columns = server.predict("digits", {"inputs": {"image": image.tolist()}})
    assert rows.headers["content-type"] == "application/json"
    np.testing.assert_allclose(rows.json["predictions"], digits[2]["scores"], rtol=1e-5)
    np.testing.assert_allclose(columns.json["outputs"], digits[2]["scores"], rtol=1e-5)


def test_image_files_in_base64_match_tensorflow(server, digits):
    body = {"signature_name": "serving_bytes", "instances": [{"b64": str(file)} for file in digits[2]["files"]]}
    np.testing.assert_allclose(server.predict("digits", body).json["predictions"], digits[2]["scores"], atol=1e-5)


@pytest.mark.parametrize(("path", "number"), [("versions/1", 1), ("versions/2", 2), ("labels/canary", 2)])
def test_a_version_is_chosen_by_number_or_label(server, digits, path, number):
    answer = server.predict(f"digits/{path}", {"instances": digits[1]["image"].tolist()})
    np.testing.assert_allclose(answer.json["predictions"], digits[number]["scores"], rtol=1e-5)


def test_paths_are_case_insensitive_and_names_percent_decoded(server, digits):
    body = json.dumps({"instances": digits[2]["image"].tolist()})
    assert server.request("POST", "/V1/Models/%64igits:PREDICT", body).status == 200


def test_several_inputs_and_outputs_are_objects(server):
    rows = server.predict("kinds", {"instances": [{"a": [1, 2], "b": 3}, {"b": -4, "a": [0.5, 0]}]})
    columns = server.predict("kinds", {"inputs": {"a": [[1, 2]], "b": [3]}})
    assert [row["sum"] for row in rows.json["predictions"]] == [[4.0, 5.0], [-3.5, -4.0]]
    assert [row["label"] for row in rows.json["predictions"]] == ["3", "-4"]
    assert base64.b64decode(rows.json["predictions"][0]["code_bytes"]["b64"]).endswith(b"3")
    assert columns.json["outputs"]["sum"] == [[4.0, 5.0]]


_ROW = {
    "f32": 0.1,
    "f64": 1e-300,
    "i8": -128,
    "i16": 32767,
    "i32": -(2**31),
    "i64": 2**63 - 1,
    "u8": 255,
    "u32": 2**32 - 1,
    "u64": 2**64 - 1,
    "flag": True,
    "text": "naïve \u0000 \U0001f600",
}


def test_every_json_type_comes_back_as_it_went(server):
    answer = server.predict("kinds", {"signature_name": "echo", "instances": [_ROW, _ROW]})
    assert answer.json["predictions"] == [{f"{name}_out": value for name, value in _ROW.items()}] * 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("i32", 1.5, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ("i32", 2**31, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("i8", 128, "JSON Value: 128 Type: Number is not of expected type: int8"),
        ("u32", -1, "JSON Value: -1 Type: Number is not of expected type: uint32"),
        ("f32", "1", 'JSON Value: "1" Type: String is not of expected type: float'),
        ("f32", 1e39, "JSON Value: 1e+39 Type: Number is not of expected type: float"),
        ("f32", True, "JSON Value: true Type: True is not of expected type: float"),
        ("f32", None, "JSON Value: null Type: Null is not of expected type: float"),
        ("flag", 1, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("text", 1, "JSON Value: 1 Type: Number is not of expected type: string"),
        ("text", {"b64": "%"}, "Unable to base64 decode"),
        ("text", {"b65": "x"}, 'JSON Value: {\n    "b65": "x"\n} not formatted correctly for base64 data'),
    ],
)
def test_a_value_of_another_type_is_refused_by_row_and_input(server, name, value, message):
    body = {"signature_name": "echo", "instances": [_ROW, {**_ROW, name: value}]}
    answer = server.predict("kinds", body)
    assert (answer.status, answer.error) == (
        400,
        f"Failed to process element: 1 key: {name} of 'instances' list. Error: INVALID_ARGUMENT: {message}",
    )


_PREFIX = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"instances": [1,]}', None),
        (b"[1]", "JSON Value: [1] Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (b'{"instances": 1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
        (
            b'{"instances": [1], "inputs": 1}',
            (
                'JSON Value: {\n    "instances": [1],\n    "inputs": 1\n} Not formatted correctly expecting only '
                "one of 'inputs' or 'instances' keys to exist "
            ),
        ),
        (
            b'{"signature_name": 3, "instances": [1]}',
            (
                'JSON Value: {\n    "signature_name": 3,\n    "instances": [1]\n} not formatted correctly. '
                "'signature_name' key must be a string value."
            ),
        ),
        (b'{"signature_name": "nope", "instances": [1]}', 'Serving signature name: "nope" not found in signature def'),
        (b'{"instances": [[[[1],[2]]], [[[1]]]]}', f"{_PREFIX}Expecting tensor size: 2 but got: 1"),
        (
            b'{"instances": [[[[1]]], [[[1], [1, 2]]]]}',
            f"{_PREFIX}Encountered list at unexpected size: 2 at level: 2 expected size: 1",
        ),
        (
            b'{"instances": [[[[1]]], [[[1], 2]]]}',
            f"{_PREFIX}JSON Value: 2 found at incorrect level: 3 in the JSON DOM. Expected at level: 3",
        ),
        (b'{"instances": [[[[1]]], {"a": 1}]}', "Expecting value/list but got object at item 1 of input list"),
        (b'{"instances": [[1, 2, 3]]}', 'input "image": expected shape [-1,8,8,1], found [1,3]'),
        (b'{"inputs": {"picture": 1}}', "Missing named input: image in 'inputs' object."),
        (b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}", "lists are nested 900 levels deep"),
        (b'{"instances": ' + b"[" * 90000, "JSON Parse error: "),
        (b'{"instances": [1e400]}', "JSON Parse error: Number too big to be stored in double."),
    ],
)
def test_a_malformed_request_is_refused_in_tensorflow_servings_words(server, body, message):
    answer = server.predict("digits", body)
    assert answer.status == 400
    if message is None or message.endswith((": ", "deep", "double.")):
        assert answer.error.startswith(message or "JSON Parse error: ")
    else:
        assert answer.error == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"instances": [1]},
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        (
            {"inputs": [1]},
            (
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        ({"instances": [{"a": [1, 2], "b": 1}, [1]]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": [{"a": [1, 2]}]},
            (
                "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": [1, 2]\n} keys must be "
                "equal to: a,b"
            ),
        ),
        (
            {"instances": [{"a": [1, 2], "b": 1, "z": 0}]},
            (
                "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
                "does not have named input: z"
            ),
        ),
    ],
)
def test_named_inputs_must_be_exactly_the_signatures(server, body, message):
    answer = server.predict("kinds", body)
    assert (answer.status, answer.error) == (400, message)


def test_scalars_go_in_columns_and_have_no_rows(server):
    assert server.predict("kinds", {"signature_name": "scalar", "inputs": 1.25}).json == {"outputs": 2.5}
    refused = server.predict("kinds", {"signature_name": "total", "instances": [1, 2]})
    assert (refused.status, refused.error) == (400, "Tensor name: total has no shape information ")
    assert server.predict("kinds", {"signature_name": "total", "inputs": [1, 2]}).json == {"outputs": 3.0}


def test_nan_and_infinities_are_bare_words_both_ways(server):
    answer = server.predict("kinds", b'{"signature_name": "logarithm", "inputs": [-1, 0, Infinity, NaN, 1, 2]}')
    assert answer.body.replace(b" ", b"").startswith(b'{"outputs":[NaN,-Infinity,Infinity,NaN,0.0,0.69314')
    assert math.isclose(answer.json["outputs"][5], math.log(2), rel_tol=1e-6)


def test_what_tensorflow_refuses_comes_with_its_code_and_words(server):
    answer = server.predict("kinds", {"signature_name": "invert", "inputs": [[1, 2], [2, 4]]})
    assert answer.status == 400
    assert "Input is not invertible" in answer.error


def test_types_that_json_cannot_carry_are_not_implemented(server):
    answer = server.predict("kinds", {"signature_name": "rare", "inputs": {"half": [1], "c64": [2]}})
    assert (answer.status, answer.error) == (501, "Conversion of JSON Value: 2 to type: complex64")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/ghost:predict", 404, "Servable not found for request: Latest(ghost)"),
        ("POST", "/v1/models/digits/versions/9:predict", 404, "Servable not found for request: Specific(digits, 9)"),
        ("POST", "/v1/models/digits/labels/x:predict", 400, "Unrecognized servable version label: x"),
        ("POST", "/v1/models/digits", 400, "Malformed request: POST /v1/models/digits"),
        ("GET", "/v1/models/digits:predict", 400, "Malformed request: GET /v1/models/digits:predict"),
        ("PUT", "/v1/models/digits", 400, "Malformed request: PUT /v1/models/digits"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/ghost", 404, "Could not find any versions of model ghost"),
        ("GET", "/v1/models/digits/versions/9", 404, "Could not find version 9 of model digits"),
        (
            "GET",
            "/v1/models/digits/versions/99999999999999999999",
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
    ],
)
def test_wrong_paths_and_names_have_their_code_and_sentence(server, method, path, status, message):
    answer = server.request(method, path, b"{}" if method != "GET" else None)
    assert (answer.status, answer.error) == (status, message)


def test_status_and_metadata_pages(server):
    status = server.get("/v1/models/digits")
    assert status.json["model_version_status"] == [
        {"version": str(n), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}} for n in (2, 1)
    ]
    metadata = server.get("/v1/models/digits/versions/1/metadata").json
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "serving_bytes"}
    image = signatures["serving_default"]["inputs"]["image"]
    assert image["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in image["tensor_shape"]["dim"]] == ["-1", "8", "8", "1"]
    assert image["tensor_shape"]["unknown_rank"] is False


def test_a_request_longer_than_the_timeout_ends_with_504(server):
    answer = server.predict("kinds", {"signature_name": "slow", "instances": [1_000_000]})
    assert answer.status == 504
    assert server.predict("kinds", {"signature_name": "slow", "instances": [1]}).status == 200


def test_gzip_both_ways(server, digits):
    body = gzip.compress(json.dumps({"instances": digits[2]["image"].tolist() * 50}).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    answer = server.request("POST", "/v1/models/digits:predict", body, headers)
    assert answer.headers["content-encoding"] == "gzip"
    scores = json.loads(gzip.decompress(answer.body))["predictions"]
    np.testing.assert_allclose(scores, np.tile(digits[2]["scores"], (50, 1)), rtol=1e-5)


def test_curl_sends_a_large_body_and_reads_the_answer(server, digits, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"instances": digits[2]["image"].tolist() * 300}))
    assert body.stat().st_size > 1024 * 1024  # curl asks with Expect: 100-continue
    url = f"http://127.0.0.1:{server.port}/v1/models/digits:predict"
    done = subprocess.run(
        ["curl", "--silent", "--fail", "--max-time", "30", "--data-binary", f"@{body}", url],
        capture_output=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["predictions"]) == 1500


def test_cors_preflight(server):
    answer = server.request("OPTIONS", "/v1/models/digits:predict", headers={"Origin": "https://example.org"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert server.request("OPTIONS", "/v1/models/digits:predict").status == 400


def test_metrics_have_tensorflow_servings_names(server, digits):
    server.predict("digits", {"instances": digits[2]["image"].tolist()})
    server.predict("digits", b"{}")
    lines = server.get("/monitoring/prometheus/metrics").body.decode().splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(counts[':tensorflow:serving:request_count{model_name="digits",status="OK"}']) > 0
    assert int(counts[':tensorflow:serving:request_count{model_name="digits",status="INVALID_ARGUMENT"}']) > 0
    labels = 'model_name="digits",API="predict",entrypoint="REST"'
    for limit in ("10", "18", "32.4", "58.32", "104.976", "+Inf"):
        assert f':tensorflow:serving:request_latency_bucket{{{labels},le="{limit}"}}' in counts
    assert int(counts[f":tensorflow:serving:request_latency_count{{{labels}}}"]) > 0
    assert any(line.startswith(":tensorflow:serving:runtime_latency_bucket") for line in lines)
    assert any(line.startswith(":tensorflow:serving:model_warmup_latency_count") for line in lines)


def test_models_that_never_were_do_not_grow_the_metrics(server):
    server.get("/v1/models/no-such-model")
    assert b"no-such-model" not in server.get("/monitoring/prometheus/metrics").body
