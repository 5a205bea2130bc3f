"""What people get wrong is refused with a sentence, without an API server too."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from keras_operator.api import ApiError, decode_model, decode_version

HERE = Path(__file__).parent
RIGHT = {entry["id"]: entry["spec"] for entry in yaml.safe_load((HERE / "right_models.yaml").read_text())}
WRONG = yaml.safe_load((HERE / "wrong_models.yaml").read_text())
WRONG_LOCALLY = [entry for entry in WRONG if entry.get("locally", entry["says"]) is not None]


def merged(document: Any, change: Any) -> Any:
    """JSON merge patch (RFC 7386): null removes."""
    if not isinstance(change, dict):
        return change
    kept = dict(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        kept[key] = merged(kept.get(key), value)
    return {key: value for key, value in kept.items() if value is not None}


@pytest.mark.parametrize("entry", WRONG_LOCALLY, ids=lambda entry: entry["id"])
def test_wrong_model_is_refused_with_a_sentence(entry):
    spec = merged(RIGHT[entry["from"]], entry.get("spec", {}))

    with pytest.raises(ApiError) as caught:
        decode_model(spec)

    assert entry.get("locally", entry["says"]) in str(caught.value)
    if "locally" not in entry:
        assert f"{entry['field']}: " in str(caught.value)


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
        pytest.param({"training": None}, "exactly one of training and source", id="neither"),
        pytest.param({"source": {"uri": "s3://uploads/dogs"}}, "exactly one of training and source", id="both"),
        pytest.param({"number": 0}, "spec.number: expected `int` >= 1", id="number"),
        pytest.param({"reason": None}, "missing required field `reason`", id="reason"),
    ],
)
def test_wrong_version_is_refused_with_a_sentence(changes, sentence):
    with pytest.raises(ApiError, match=sentence):
        decode_version(version(**changes))
