"""The team's own Python builds the network; what is wrong with it is said with its line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import msgspec
import pytest
from keras_operator.api import Builder, ConfigMapKey, InitialWeights, RunSpec

from model_store import claim, open_store, read_manifest
from model_trainer import builder as builders

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]

NET = '''\
import keras
import msgspec


class Scale(keras.layers.Layer):
    """A class of the team's own, not registered anywhere."""

    def __init__(self, by=2.0, **options):
        super().__init__(**options)
        self.by = by

    def call(self, images):
        return images * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


def build_model(input_shape, num_classes, units=8, by=1.0):
    inputs = keras.Input(input_shape)
    features = keras.layers.Lambda(lambda x: x - 0.5)(Scale(by)(inputs))
    features = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(features))
    outputs = keras.layers.Dense(num_classes, activation="softmax")(features)
    return keras.Model(inputs, outputs)
'''

OF_CONFIG_MAP = Builder(config_map_key_ref=ConfigMapKey(name="my-net", key="net.py"), params={"units": 5})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_network_of_ones_own_is_trained_exported_and_compared(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_BUILDER", NET)
    run = spec(few_digits, store, builder=OF_CONFIG_MAP)
    trained = stage("train", run)
    assert trained.code == 0
    source = builders.BuilderSource("net.py", NET)
    assert trained.result.builder == source.digest
    assert (store / ".runs/1/builder.py").read_text() == NET

    monkeypatch.delenv("KERAS_BUILDER")
    exported = stage("export", run)
    assert exported.code == 0
    assert exported.result.parity < 1e-4
    assert len(read_manifest(open_store(store.as_uri()), 1).classes) == 10
    model = keras.models.load_model(store / ".runs/1/model.keras", safe_mode=False)
    assert model.layers[-2].units == 5


def test_a_version_keeps_the_source_that_it_was_first_trained_with(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    claim(open_store(store.as_uri()), 1, "uid-1")
    (store / ".runs/1/builder.py").write_text(NET)
    monkeypatch.setenv("KERAS_BUILDER", "raise ValueError('the ConfigMap was changed')")
    assert stage("train", spec(few_digits, store, builder=OF_CONFIG_MAP)).code == 0


def test_source_in_the_store_is_taken_too_and_its_version_started_from(
    tmp_path: Path, few_digits: Path, store: Path, stage: Stage, spec: Spec
):
    (tmp_path / "net.py").write_text(NET)
    builder = Builder(uri=(tmp_path / "net.py").as_uri())
    assert stage("train", spec(few_digits, store, builder=builder)).code == 0
    again = spec(few_digits, store, number=2, owner="uid-2", builder=builder, initial_weights=InitialWeights(version=1))
    assert stage("train", again).code == 0


SIMPLE = "import keras\ndef build_model(input_shape, num_classes):\n    {}\n"
TOP = "return keras.Sequential([keras.Input({}), keras.layers.Flatten(), {}])"
SWALLOWING = """\
def build_model(input_shape, num_classes):
    n = 0
    while n < 2:
        try:
            while True:
                pass
        except Exception:
            n += 1
"""
WRONG = {
    "a syntax error": ("import keras\ndef build_model(:\n", "net.py, line 2: SyntaxError: "),
    "an exception": (SIMPLE.format("return missing"), "net.py, line 3: NameError: name 'missing' is not defined."),
    "an exception while it is read": ("\n1 / 0\n", "net.py, line 2: ZeroDivisionError: division by zero."),
    "a package that is not there": ("import torch_geometric\n", "net.py, line 1: ModuleNotFoundError: No module"),
    "an exit": (SIMPLE.format("raise SystemExit(0)"), "net.py, line 3: SystemExit: 0."),
    "no function": (
        "def make():\n    pass\n",
        "net.py has no function build_model; it has make. Define it as build_model(input_shape, num_classes, **params)",
    ),
    "other arguments": ("def build_model():\n    pass\n", "net.py: TypeError: build_model() takes 0 positional"),
    "nothing returned": (SIMPLE.format("pass"), "build_model in net.py returns builtins.NoneType, and a keras.Model"),
    "no input": (
        SIMPLE.format("return keras.Sequential([keras.layers.Dense(2)])"),
        "returns a model without an input: begin with keras.Input(input_shape)",
    ),
    "another input": (
        SIMPLE.format(TOP.format("(5, 5, 3)", "keras.layers.Dense(num_classes, activation='softmax')")),
        "returns a model that takes (5, 5, 3), and the data has (10, 10, 1): begin with one",
    ),
    "another output": (
        SIMPLE.format(TOP.format("input_shape", "keras.layers.Dense(3, activation='softmax')")),
        "returns a model that answers with (3,), and the data has 10 classes: end with keras.layers.Dense(num_classes",
    ),
    "no probabilities": (
        SIMPLE.format(TOP.format("input_shape", "keras.layers.Dense(num_classes, bias_initializer='ones')")),
        "returns a model whose answers sum to 10 and not to 1, so they are no probabilities: end with activation=",
    ),
    "an infinite loop": (
        SIMPLE.format("while True: pass"),
        "net.py, line 3: build_model was still running after 1 s and was stopped. End its loop, or raise spec.",
    ),
    "a loop that swallows everything": (SWALLOWING, ": build_model was still running after 1 s and was stopped"),
    "an infinite loop at once": ("while True:\n    pass\n", ": its source was still running after 1 s"),
    "bytes": ("", "is not text in UTF-8"),
}


@pytest.mark.parametrize(("source", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_builder_is_named_with_its_line(
    tmp_path: Path, few_digits: Path, store: Path, stage: Stage, spec: Spec, source: str, told: str
):
    (tmp_path / "net.py").write_bytes(source.encode() or b"\xff\xfe")
    builder = Builder(uri=(tmp_path / "net.py").as_uri(), timeout_seconds=1)
    ended = stage("train", spec(few_digits, store, builder=builder))
    assert (ended.code, ended.reason) == (65, "InvalidBuilder")
    assert told in ended.sentence


def test_a_file_that_is_not_there_is_named(tmp_path: Path, few_digits: Path, store: Path, stage: Stage, spec: Spec):
    missing = (tmp_path / "net.py").as_uri()
    ended = stage("train", spec(few_digits, store, builder=Builder(uri=missing)))
    assert (ended.code, ended.reason) == (65, "InvalidBuilder")
    assert ended.sentence == f"There is no file {missing}. Correct spec.training.builder.uri, or upload the file."


def test_the_version_that_serves_is_compared_by_its_own_source(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KERAS_BUILDER", NET)
    assert stage("train", spec(few_digits, store, builder=OF_CONFIG_MAP)).code == 0
    monkeypatch.setenv("KERAS_BUILDER", NET.replace("class Scale", "class Other").replace("Scale(by)", "Other(by)"))
    again = msgspec.structs.replace(spec(few_digits, store, number=2, owner="uid-2", builder=OF_CONFIG_MAP), serving=1)
    ended = stage("train", again)
    assert ended.code == 0
    assert ended.result.comparison.problem == ""
    assert ended.result.comparison.metrics["accuracy"] >= 0
