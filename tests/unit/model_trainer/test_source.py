"""A SavedModel that somebody else made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import RunSpec

from model_store import open_store, read_manifest
from model_trainer import source, warmup

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]


class Doubling(tf.Module):  # type: ignore[misc]
    """Doubles rows of three numbers; a second signature counts letters, and a third takes any shape."""

    def __init__(self) -> None:
        super().__init__()
        self.two = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def double(self, x: Any) -> Any:
        return {"y": x * self.two}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def letters(self, text: Any) -> Any:
        return {"count": tf.strings.length(text)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, name="any")])
    def total(self, any: Any) -> Any:  # noqa: A002
        return {"sum": tf.reduce_sum(any, axis=1)}


@pytest.fixture
def uploaded(tmp_path: Path) -> Path:
    """A SavedModel with three signatures, where people upload theirs."""
    module = Doubling()
    signatures = {"serving_default": module.double, "letters": module.letters, "total": module.total}
    tf.saved_model.save(module, str(tmp_path / "uploads" / "doubling"), signatures=signatures)
    return tmp_path / "uploads" / "doubling"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_it_is_checked_published_and_described(uploaded: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("export", spec(None, store, source=uploaded))
    assert (ended.code, ended.result.parity, ended.result.metrics.keys()) == (0, None, {"size_mb", "latency_ms"})
    assert ended.result.servable.signatures == ("letters", "serving_default", "total")
    assert list(ended.result.times) == ["started", "loaded", "verified", "published"]
    manifest = read_manifest(open_store(store.as_uri()), 1)
    assert manifest.signatures["total"]["inputs"] == {"any": {"dtype": "int64", "shape": [-1, -1]}}
    assert manifest.classes == []
    loaded = tf.saved_model.load(str(store / "1")).signatures["serving_default"]
    assert loaded(x=tf.constant([[1.0, 2.0, 3.0]]))["y"].numpy().tolist() == [[2.0, 4.0, 6.0]]


def test_it_gets_zeros_as_warm_up_where_shapes_are_known(uploaded: Path, store: Path, stage: Stage, spec: Spec):
    assert stage("export", spec(None, store, source=uploaded)).code == 0
    requests = list(warmup.read_warmup(store / "1"))
    assert [name for name, _ in requests] == ["serving_default"]
    assert requests[0][1]["x"].numpy().tolist() == [[0.0, 0.0, 0.0]]


def test_its_own_warm_up_is_replayed_and_kept(uploaded: Path, store: Path, stage: Stage, spec: Spec):
    warmup.write_warmup(uploaded, "digits", [("letters", {"text": np.array([b"abc"], dtype=object)})])
    before = warmup.warmup_path(uploaded).read_bytes()
    assert stage("export", spec(None, store, source=uploaded)).code == 0
    assert warmup.warmup_path(store / "1").read_bytes() == before


def test_a_warm_up_record_that_fails_is_named(uploaded: Path, store: Path, stage: Stage, spec: Spec):
    good = ("serving_default", {"x": np.zeros((1, 3), np.float32)})
    warmup.write_warmup(uploaded, "digits", [good, ("triple", {"x": np.zeros((1, 3), np.float32)})])
    ended = stage("export", spec(None, store, source=uploaded))
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert "Record 2 of assets.extra/tf_serving_warmup_requests fails" in ended.sentence
    assert not (store / "1").exists()


def test_nothing_there(tmp_path: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("export", spec(None, store, source=tmp_path / "nothing"))
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert f"Nothing was found under {(tmp_path / 'nothing').as_uri()}. Correct spec.source.uri" in ended.sentence


def test_one_folder_too_high(uploaded: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("export", spec(None, store, source=uploaded.parent))
    assert ended.reason == "BadSavedModel"
    assert ended.sentence.endswith(f"one in doubling/: write spec.source.uri: {uploaded.as_uri()}")


def test_other_files_only(tmp_path: Path, store: Path, stage: Stage, spec: Spec):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model.onnx").write_bytes(b"1")
    ended = stage("export", spec(None, store, source=tmp_path / "x"))
    assert "but 1 other files such as model.onnx" in ended.sentence


def cut_the_graph(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:-100])


def lose_the_weights(folder: Path) -> None:
    (folder / "variables" / "variables.index").unlink()


def training_only(folder: Path) -> None:
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"serve", b"train", 1))


def no_signature(folder: Path) -> None:
    tf.saved_model.save(tf.Module(), str(folder))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (cut_the_graph, "saved_model.pb is no SavedModel"),
        (lose_the_weights, "cannot load it"),
        (training_only, "has no graph with the tag 'serve'; its tags are ['train']"),
        (no_signature, "has no signature that could be called"),
    ],
)
def test_what_cannot_be_served_is_said(
    uploaded: Path, store: Path, stage: Stage, spec: Spec, spoil: Callable[[Path], None], told: str
):
    spoil(uploaded)
    ended = stage("export", spec(None, store, source=uploaded))
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert f"The SavedModel under {uploaded.as_uri()} cannot be served: " in ended.sentence
    assert told in ended.sentence
    assert not (store / "1").exists()


@pytest.mark.parametrize(
    ("limit", "told"),
    [("MOST_FILES", "more than 2 files"), ("MOST_BYTES", "bytes, more than the 2 that are read")],
)
def test_a_folder_that_is_far_too_large_is_not_fetched(
    uploaded: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch, limit: str, told: str
):
    monkeypatch.setattr(source, limit, 2)
    ended = stage("export", spec(None, store, source=uploaded))
    assert (ended.code, ended.reason) == (65, "BadSavedModel")
    assert told in ended.sentence
