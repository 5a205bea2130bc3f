"""The fingerprint of a version's inputs: stable where nothing changes, different where something does."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_operator.api import (
    Cache,
    Credentials,
    KerasModelVersionSpec,
    Store,
    decode_model,
    inputs_hash,
    store_digest,
)

STORE = {"uri": "s3://models/dogs"}
DATA = {"uri": "s3://datasets/dogs"}


def trained(**training: Any) -> str:
    return inputs_hash(decode_model({"training": {"data": DATA} | training, "store": STORE}))


def test_it_never_changes_between_releases():
    assert trained() == "7a2b3b6267574b30"
    assert trained(epochs=5, augmentation={"rotation": 20}) == "389d25114ce288b2"


def test_nor_does_that_of_a_store():
    """Or an upgrade would make every Job anew that waits for something."""
    there, minio = "s3://models/dogs", Credentials(secret_name="minio")
    assert store_digest(Store(uri=there)) == "26561d7436c7b2d8"
    assert store_digest(Store(uri=there, endpoint="http://minio:9000", credentials=minio)) == "805dbf7f49a00bfd"


def test_a_cache_is_a_way_of_its_own_to_a_store():
    store = Store(uri="s3://models/dogs")
    caches = (
        None,
        Cache(claim_name="datasets"),
        Cache(claim_name="others"),
        Cache(claim_name="others", max_gigabytes=1),
    )
    assert len({store_digest(store, cache) for cache in caches}) == len(caches)


WRITTEN_OUT = {
    "architecture": {"name": "SmallCNN"},
    "optimizer": {"name": "adam", "learningRate": 0.001},
    "loss": "categorical_crossentropy",
    "epochs": 10,
    "batchSize": 32,
    "seed": 42,
    "augmentation": {"rotation": 0, "zoom": 0.0, "horizontalFlip": False},
    "resources": {"requests": {}},
    "activeDeadlineSeconds": 86400,
    "data": DATA | {"imageSize": [224, 224], "testFraction": 0.1},
}


@given(st.sets(st.sampled_from(sorted(WRITTEN_OUT))))
def test_writing_defaults_out_changes_nothing(names: set[str]):
    assert trained(**{name: WRITTEN_OUT[name] for name in names}) == trained()


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 11},
        {"seed": 43},
        {"data": {"uri": "s3://datasets/cats"}},
        {"data": DATA | {"imageSize": [224, 225]}},
        {"data": DATA | {"labels": {}}},
        {"data": DATA | {"validationUri": "s3://datasets/val"}},
        {"data": DATA | {"testUri": "s3://datasets/test"}},
        {"data": DATA | {"classWeights": "balanced"}},
        {"optimizer": {"learningRate": 0.002}},
        {"architecture": {"name": "SimpleCNN"}},
        {"earlyStopping": {}},
        {"resources": {"limits": {"memory": "4Gi"}}},
    ],
    ids=str,
)
def test_every_change_of_training_shows(change: dict[str, Any]):
    assert trained(**change) != trained()


def test_two_spellings_of_one_quantity_are_the_same():
    whole = trained(resources={"requests": {"cpu": 2, "memory": "1Gi"}})

    assert trained(resources={"requests": {"memory": "1024Mi", "cpu": "2000m"}}) == whole
    assert trained(resources={"requests": {"memory": "1024Mi", "cpu": "2001m"}}) != whole


def test_nothing_but_training_and_source_counts():
    plain = decode_model({"training": {"data": DATA}, "store": STORE})
    other = decode_model(
        {
            "training": {"data": DATA},
            "store": {"uri": "s3://elsewhere/dogs", "endpoint": "http://minio:9000"},
            "evaluation": {"gates": [{"metric": "accuracy", "min": 0.9}]},
            "serving": {"replicas": 3},
            "suspend": True,
        }
    )

    assert inputs_hash(plain) == inputs_hash(other)


def test_where_the_data_is_kept_does_not_count():
    assert trained(data=DATA | {"cache": {"claimName": "datasets", "maxGigabytes": 5}}) == trained()


def test_a_source_differs_from_training_and_by_its_address():
    one = inputs_hash(decode_model({"source": {"uri": "s3://datasets/dogs"}, "store": STORE}))
    two = inputs_hash(decode_model({"source": {"uri": "s3://datasets/cats"}, "store": STORE}))

    assert len({one, two, trained()}) == 3


def test_model_and_version_agree():
    model = decode_model({"training": {"data": DATA, "epochs": 3}, "store": STORE})
    version = KerasModelVersionSpec(
        model_name="dogs",
        number=1,
        inputs_hash=inputs_hash(model),
        reason="first version",
        training=model.training,
        store=model.store,
    )
    back = msgspec.convert(msgspec.to_builtins(version), KerasModelVersionSpec)

    assert inputs_hash(back) == version.inputs_hash
