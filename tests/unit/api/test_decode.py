"""What people get wrong is refused with a sentence, without an API server too."""

import re
from typing import Any

import pytest
from keras_operator.api import ApiError, decode_model, decode_version

from tests.cluster.document_tables import RIGHT, document_of, kind_of, says, wrong_documents

WRONG = wrong_documents()
WRONG_LOCALLY = [entry for entry in WRONG if entry.get("locally", "the same") is not None]
RIGHT_LOCALLY = [entry for entry in WRONG if entry.get("locally", "the same") is None and "document" not in entry]


def decoded(entry: dict[str, Any]) -> object:
    decode = decode_version if kind_of(entry) == "KerasModelVersion" else decode_model
    return decode(document_of(entry).get("spec", {}))


def same_sentences(entry: dict[str, Any]) -> list[str]:
    """What is said without an API server: it puts what it found before the sentence."""
    found = re.compile(r'Invalid value: ("([^"\\]|\\.)*": |-?[0-9.]+: )?')
    return [found.sub("", said) for said in says(entry)]


@pytest.mark.parametrize("entry", WRONG_LOCALLY, ids=lambda entry: entry["id"])
def test_wrong_document_is_refused_with_a_sentence(entry):
    with pytest.raises(ApiError) as caught:
        decoded(entry)

    if "locally" in entry:
        assert str(caught.value) == entry["locally"]
    else:
        assert sorted(str(caught.value).split("; spec")) == sorted("; ".join(same_sentences(entry)).split("; spec"))


@pytest.mark.parametrize("entry", RIGHT_LOCALLY, ids=lambda entry: entry["id"])
def test_what_only_the_api_server_can_know_is_no_mistake_without_it(entry):
    decoded(entry)


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT)
def test_right_model_is_accepted(spec):
    decode_model(spec)


def test_every_mistake_is_named_not_only_the_first():
    spec = {"store": {"uri": "gs://models/dogs", "endpoint": "minio"}, "training": {"data": {"uri": "dogs"}}}

    with pytest.raises(ApiError) as caught:
        decode_model(spec)

    for field in ("spec.store.uri", "spec.store.endpoint", "spec.training.data.uri"):
        assert f"{field}: must be" in str(caught.value)


def version(**changes: Any) -> dict[str, Any]:
    spec = {
        "modelName": "dogs",
        "number": 3,
        "inputsHash": "0123456789abcdef",
        "reason": "first version",
        "training": {"data": {"uri": "s3://datasets/dogs"}},
        "store": {"uri": "s3://models/dogs"},
    }
    return {key: value for key, value in (spec | changes).items() if value is not None}


def test_version_is_decoded():
    assert decode_version(version()).number == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"training": None}, "made from exactly one of them", id="neither"),
        pytest.param({"source": {"uri": "s3://uploads/dogs"}}, "made from exactly one of them", id="both"),
        pytest.param({"number": 0}, "spec.number: expected `int` >= 1", id="number"),
        pytest.param({"reason": None}, "missing required field `reason`", id="reason"),
    ],
)
def test_wrong_version_is_refused_with_a_sentence(changes, sentence):
    with pytest.raises(ApiError, match=sentence):
        decode_version(version(**changes))
