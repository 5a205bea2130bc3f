"""Networks of keras.applications begin with the weights that Keras has for them, and only their end may learn on."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_operator.api import Architecture, ArchitectureName, InitialWeights, PretrainedWeights, RunSpec

from model_trainer.architectures import build
from model_trainer.pretrained import freeze_all_but

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]

# Keras looks into its cache before it downloads: there the test puts weights that it made itself.
_BEGIN = """
import json, os, sys
import keras, numpy as np
from keras_operator.api import ArchitectureName
from model_trainer.architectures import build
from model_trainer.pretrained import start_from_imagenet

theirs = keras.applications.MobileNetV2(weights=None)
random = np.random.default_rng(0)
theirs.set_weights([random.random(weight.shape) for weight in theirs.get_weights()])
cache = os.path.join(os.environ["KERAS_HOME"], "models")
os.makedirs(cache)
theirs.save(os.path.join(cache, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"))
ours = build(ArchitectureName.MOBILENET_V2, (32, 32, 3), 3)
head = np.asarray(ours.weights[-1]).tolist()
said = start_from_imagenet(ArchitectureName.MOBILENET_V2, ours)
before = {weight.path: weight for weight in theirs.weights}
same = [bool(np.array_equal(np.asarray(weight), np.asarray(before[weight.path]))) for weight in ours.weights[:-2]]
print(json.dumps([said, all(same), np.asarray(ours.weights[-1]).tolist() == head]))
"""


def test_weights_of_imagenet_are_taken_over_but_for_the_last_layer(tmp_path: Path):
    environment = os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    begun = subprocess.run(
        [sys.executable, "-c", _BEGIN], env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    said, same, head_is_new = json.loads(begun.stdout.splitlines()[-1])
    assert said == (
        "every layer but the last begins with the weights of ImageNet; predictions begins anew, because they are for "
        "1000 classes and the data has 3"
    )
    assert same
    assert head_is_new


def test_weights_that_cannot_be_downloaded_are_said_and_tried_again(
    few_digits: Path, tmp_path: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    # Who asks first decides by which proxies urllib asks from then on.
    monkeypatch.setattr(urllib.request, "_opener", None)
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    architecture = Architecture(name=ArchitectureName.MOBILENET, weights=PretrainedWeights.IMAGENET)
    ended = stage(
        "train", spec(few_digits, tmp_path / "store", architecture=architecture, data={"image_size": (32, 32)})
    )
    assert (ended.code, ended.reason) == (75, "WeightsUnreachable")
    assert ended.sentence.startswith("The ImageNet weights of MobileNet cannot be downloaded (")
    assert "name them in spec.training.initialWeights.uri instead of architecture.weights." in ended.sentence


def test_only_the_end_of_a_network_learns():
    model = build(ArchitectureName.MOBILENET_V2, (32, 32, 3), 3)
    assert freeze_all_but(1, model) == "104 of 105 layers with weights are frozen"
    assert [weight.path for weight in model.trainable_weights] == ["predictions/kernel", "predictions/bias"]


def test_what_is_frozen_is_the_same_after_a_training(few_digits: Path, simply_trained: Any, stage: Stage, spec: Spec):
    again = spec(
        few_digits,
        simply_trained.store,
        number=2,
        owner="uid-2",
        initial_weights=InitialWeights(version=1),
        trainable_layers=1,
        label_smoothing=0.1,
    )
    assert stage("train", again).code == 0
    before = keras.models.load_model(simply_trained.store / ".runs/1/model.keras").get_weights()
    after = keras.models.load_model(simply_trained.store / ".runs/2/model.keras").get_weights()
    same = [np.array_equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, True, True, True, False, False]
