"""Classify, regress and multi-inference, over both protocols, compared with TensorFlow's own answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import grpc
import numpy as np
import pytest

from model_server.runtime import protobufs
from model_server.runtime.examples import parse_examples

LABELS = ["cat", "dog", "owl"]
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def _rows(examples: Any) -> list[dict[str, Any]]:
    return [{"x": x.tolist(), "k": int(k)} for x, k in zip(examples["x"], examples["k"], strict=True)]


@pytest.fixture
def ask(server):
    def post(api: str, signature: str, rows: Any, **more: Any) -> Any:
        body = {"examples": rows, **({"signature_name": signature} if signature else {}), **more}
        return server.request("POST", f"/v1/models/examples:{api}", body)

    return post


@pytest.mark.parametrize("signature", ["", "tensorflow_2"])
def test_classes_come_with_their_scores(ask, examples, signature):
    results = ask("classify", signature, _rows(examples)).json["results"]
    assert [[label for label, _ in row] for row in results] == [LABELS] * 4
    np.testing.assert_allclose([[score for _, score in row] for row in results], examples["scores"], rtol=1e-5)


def test_a_model_without_labels_or_without_scores_gives_empty_ones(ask, examples):
    scores = ask("classify", "scores_only", _rows(examples)[:1]).json["results"]
    assert [label for label, _ in scores[0]] == ["", "", ""]
    assert ask("classify", "classes_only", _rows(examples)[:1]).json["results"] == [[[name, 0.0] for name in LABELS]]


def test_scores_that_are_no_numbers_are_written_bare(ask):
    answer = ask("classify", "not_numbers", [{"x": [0.0, -1.0]}])
    assert answer.body == b'{"results":[[["",-Infinity],["",NaN]]]}'


@pytest.mark.parametrize("signature", ["value", "value_column"])
def test_a_regression_gives_one_value_for_each_example(ask, examples, signature):
    results = ask("regress", signature, _rows(examples)).json["results"]
    np.testing.assert_allclose(results, examples["value"], rtol=1e-6)


def test_an_example_goes_before_the_context(ask):
    answer = ask("regress", "value", [{"x": [1.0, 2.0]}, {"x": [0.0, 0.0], "k": 5}], context={"k": 40})
    assert answer.json["results"] == [43.0, 5.0]


def test_bytes_are_base64_or_text(ask):
    encoded = {"b64": base64.b64encode(b"a\xc3\xb6").decode()}
    answer = ask("classify", "names", [{"x": [0.0, 0.0], "name": encoded}, {"x": [0.0, 0.0], "name": ["aö"]}])
    assert answer.json["results"] == [[["aö", 0.0]]] * 2


_X = {"x": [0.0, 1.0]}
_MISTAKES: list[tuple[str, Any, str]] = [
    ("classify", [], "[]"),
    ("classify", {}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
    ("regress", {}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
    (
        "classify",
        {"examples": 1},
        "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
    ),
    ("classify", {"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
    ("classify", {"examples": [1]}, "Example must be JSON object but got JSON Number"),
    ("classify", {"examples": [_X], "context": []}, "Example must be JSON object but got JSON Array"),
    ("classify", {"examples": [_X], "signature_name": 1}, "'signature_name' key must be a string value."),
    ("classify", {"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
    ("classify", {"examples": [{"x": {"a": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
    ("classify", {"examples": [{"x": [[1.0]]}]}, "Feature: x has element with unexpected JSON type: Array"),
    ("classify", {"examples": [{"x": [1.0, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
    ("classify", {"examples": [{"x": [1, 1.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
    ("classify", {"examples": [{"x": ["a", 1]}]}, "Unexpected element type in feature: x expecting type: bytes"),
    ("classify", {"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
    ("classify", {"examples": [{"x": 1e39}]}, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    ("classify", {"examples": [{"x": {"b64": "%"}}]}, "Unable to base64 decode"),
    ("classify", {"examples": [_X], "signature_name": "no"}, "No signature was found with the name: no"),
    ("classify", {"examples": [_X], "signature_name": "two_inputs"}, "Expected one input Tensor."),
    ("classify", {"examples": [_X], "signature_name": "three_outputs"}, "Expected one or two output Tensors, found 3"),
    (
        "classify",
        {"examples": [_X], "signature_name": "wrong_input"},
        "No classification inputs found in SignatureDef: ",
    ),
    (
        "classify",
        {"examples": [_X], "signature_name": "wrong_outputs"},
        'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: ',
    ),
    (
        "classify",
        {"examples": [_X], "signature_name": "flat_scores"},
        "Expected Tensor shape: [batch_size num_classes] but got [1]",
    ),
    (
        "classify",
        {"examples": [_X], "signature_name": "double_scores"},
        "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
    ),
    (
        "classify",
        {"examples": [_X], "signature_name": "number_classes"},
        "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
    ),
    (
        "classify",
        {"examples": [_X], "signature_name": "more_scores"},
        "Tensors class and score should match in dim_size(1). Got 3 vs. 2",
    ),
    (
        "classify",
        {"examples": [_X, _X], "signature_name": "one_row"},
        "Expected scores output batch size of 2. Got: 1",
    ),
    ("regress", {"examples": [_X], "signature_name": "two_values"}, "Expected one output Tensor."),
    ("regress", {"examples": [_X], "signature_name": "wrong_value"}, "No regression outputs found in SignatureDef: "),
    (
        "regress",
        {"examples": [_X], "signature_name": "wide_value"},
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
    ),
    (
        "regress",
        {"examples": [_X, _X], "signature_name": "one_value"},
        "Input batch size did not match output batch size: 2 vs. 1",
    ),
    (
        "regress",
        {"examples": [_X], "signature_name": "double_value"},
        "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE",
    ),
    ("regress", {"examples": [{}], "signature_name": "value"}, "Feature: x (data type: float) is required"),
    ("regress", {"examples": [{"x": [1, 2]}], "signature_name": "value"}, "Data types don't match"),
    ("regress", {"examples": [{"x": []}], "signature_name": "value"}, "Feature: x (data type: float) is required"),
]


@pytest.mark.parametrize(("api", "body", "message"), _MISTAKES)
def test_a_mistake_has_tensorflow_servings_sentence(server, api, body, message):
    answer = server.request("POST", f"/v1/models/examples:{api}", json.dumps(body))
    assert message in answer.error
    assert answer.status == 400


def test_booleans_and_huge_integers_in_examples():
    (serialized,) = parse_examples(b'{"examples": [{"b": [true, false], "f": [1e3, 100000000000000000000, NaN]}]}')[1]
    features = protobufs.Example.FromString(serialized).features.feature
    assert list(features["b"].int64_list.value) == [1, 0]
    assert list(features["f"].float_list.value)[:2] == [1e3, float(np.float32(1e20))]


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield protobufs.prediction_services()[0].PredictionServiceStub(channel)


def _fill(request: Any, examples: Any, *, context: bool = False) -> Any:
    for x, k in zip(examples["x"], examples["k"], strict=True):
        kind = request.input.example_list_with_context if context else request.input.example_list
        example = kind.examples.add()
        example.features.feature["x"].float_list.value.extend(x.tolist())
        if context:
            kind.context.features.feature["k"].int64_list.value[:] = [100]
        else:
            example.features.feature["k"].int64_list.value.append(int(k))
    return request


def _spec(request: Any, signature: str, model: str = "examples") -> Any:
    request.model_spec.name, request.model_spec.signature_name = model, signature
    return request


def test_grpc_classify_and_regress_match_tensorflow(stub, examples):
    request = _fill(_spec(protobufs.classification_pb2.ClassificationRequest(), ""), examples)
    response = stub.Classify(request, timeout=30)
    rows = response.result.classifications
    np.testing.assert_allclose([[c.score for c in row.classes] for row in rows], examples["scores"], rtol=1e-5)
    assert [c.label for c in rows[0].classes] == LABELS
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("examples", 1, "serving_default")
    request = _fill(_spec(protobufs.regression_pb2.RegressionRequest(), "value"), examples)
    values = [r.value for r in stub.Regress(request, timeout=30).result.regressions]
    np.testing.assert_allclose(values, examples["value"], rtol=1e-6)


def test_grpc_context_is_given_to_every_example(stub, examples):
    request = _fill(_spec(protobufs.regression_pb2.RegressionRequest(), "value"), examples, context=True)
    values = [r.value for r in stub.Regress(request, timeout=30).result.regressions]
    np.testing.assert_allclose(values, examples["x"].sum(axis=1) + 100, rtol=1e-6)


def _multi(*tasks: tuple[str, str, str]) -> Any:
    request = protobufs.inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        _spec(request.tasks.add(method_name=method), signature, model)
    return request


def test_multi_inference_runs_several_signatures_on_the_same_examples(stub, examples):
    request = _fill(_multi(("examples", "", CLASSIFY), ("examples", "value_column", REGRESS)), examples)
    first, second = stub.MultiInference(request, timeout=30).results
    assert first.classification_result.classifications[3].classes[1].score == pytest.approx(examples["scores"][3][1])
    np.testing.assert_allclose([r.value for r in second.regression_result.regressions], examples["value"], rtol=1e-6)
    assert [r.model_spec.signature_name for r in (first, second)] == ["serving_default", "value_column"]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("", "", CLASSIFY)], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("examples", "", CLASSIFY), ("", "value", REGRESS)], "INVALID_ARGUMENT", "with an empty model name."),
        ([("examples", "", CLASSIFY), ("digits", "value", REGRESS)], "INVALID_ARGUMENT", "access the same model name."),
        (
            [("examples", "value", REGRESS), ("examples", "value", REGRESS)],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: value",
        ),
        ([("examples", "no", REGRESS)], "INVALID_ARGUMENT", "Requested signature not found in model graph: no"),
        ([("examples", "value", "predict")], "UNIMPLEMENTED", "Unsupported signature method_name: predict"),
        (
            [("examples", "value", REGRESS), ("examples", "other_input", REGRESS)],
            "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
        ([("examples", "value", REGRESS)], "INVALID_ARGUMENT", "Input is empty."),
        ([("ghost", "value", REGRESS)], "NOT_FOUND", "Servable not found for request: Latest(ghost)"),
    ],
)
def test_multi_inference_mistakes_have_their_code_and_sentence(stub, tasks, code, message):
    with pytest.raises(grpc.RpcError) as refused:
        stub.MultiInference(_multi(*tasks), timeout=30)
    assert message in (refused.value.details() or "")
    assert refused.value.code().name == code


def test_the_method_name_is_checked_where_that_is_asked_for(models, launch_server):
    server = launch_server(
        "--model_name=examples", f"--model_base_path={models / 'examples'}", "--enable_signature_method_name_check"
    )
    server.wait_available("examples", 1)
    body = {"signature_name": "tensorflow_2", "examples": [_X]}
    assert server.request("POST", "/v1/models/examples:classify", body).error == (
        "Expected classification signature method_name to be tensorflow/serving/classify. "
        "Was: tensorflow/serving/predict"
    )
    assert server.request("POST", "/v1/models/examples:classify", {"examples": [_X]}).status == 200


def test_examples_are_counted(server, ask):
    ask("classify", "", [_X, _X])
    lines = server.get("/monitoring/prometheus/metrics").body.decode().splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert int(counts[':tensorflow:serving:request_example_count_total{model="examples"}']) >= 2
    assert int(counts[':tensorflow:serving:request_example_counts_bucket{model="examples",le="2"}']) >= 1
