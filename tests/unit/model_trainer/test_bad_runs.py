"""What goes wrong in a run, seen as the Job sees it: exit code, reason, and a sentence that says what to do."""

import contextlib
import errno
import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keras_operator.api import Optimizer, OptimizerName, RunSpec

from model_store import Unreachable
from model_store.local import LocalStore
from model_trainer import conclusion, machine, main, train_stage, training

Stage = Callable[..., Any]
Spec = Callable[..., RunSpec]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_nothing_under_the_uri(tmp_path: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("train", spec(tmp_path / "nowhere", store))
    assert (ended.code, ended.reason) == (65, "NoImages")
    assert f"No images under {(tmp_path / 'nowhere').as_uri()}: nothing was found" in ended.sentence


def test_one_class(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    for digit in range(1, 10):
        for file in (few_digits / str(digit)).iterdir():
            file.unlink()
    ended = stage("train", spec(few_digits, store))
    assert (ended.code, ended.reason) == (65, "OneClass")


def test_too_few_images_for_three_parts(tmp_path: Path, store: Path, encode_image: Any, stage: Stage, spec: Spec):
    import numpy as np

    for name, shade in (("a", 1), ("b", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.png").write_bytes(encode_image(np.full((8, 8), shade, np.uint8)))
    ended = stage("train", spec(tmp_path / "data", store))
    assert (ended.code, ended.reason) == (65, "NoImages")
    assert "2 different images that can be used, too few for a train, a validation and a test part" in ended.sentence


def test_bad_files_up_to_the_limit_are_counted_in_the_result(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    (few_digits / "3" / "empty.png").write_bytes(b"")
    (few_digits / "4" / "text.png").write_text("no image")
    ended = stage("train", spec(few_digits, store, data={"max_bad_files": 2}))
    assert (ended.code, ended.result.bad_files) == (0, 2)
    assert '"key": "3/empty.png"' in (store / ".runs" / "1" / "metrics.json").read_text()


def test_bad_files_above_the_limit(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    (few_digits / "3" / "empty.png").write_bytes(b"")
    ended = stage("train", spec(few_digits, store, data={"max_bad_files": 0}))
    assert (ended.code, ended.reason) == (65, "TooManyBadFiles")
    assert "3/empty.png (zero bytes)" in ended.sentence


def test_images_too_small_for_the_network(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("train", spec(few_digits, store, data={"image_size": (9, 30)}))
    assert (ended.code, ended.reason) == (65, "InvalidArchitecture")


def test_a_batch_size_above_the_data_is_one_batch_of_all_of_it(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("train", spec(few_digits, store, batch_size=65_536, epochs=2))
    assert (ended.code, ended.result.epochs) == (0, 2)
    history = json.loads((store / ".runs" / "1" / "history.json").read_text())
    assert history["loss"][1] < history["loss"][0], "it learns all the same"


def test_a_loss_that_diverges(few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch):
    def diverge(model: Any, *rest: Any, **more: Any) -> Any:
        model.layers[-1].set_weights([weights * float("nan") for weights in model.layers[-1].get_weights()])
        return training.train(model, *rest, **more)

    monkeypatch.setattr(train_stage, "train", diverge)
    optimizer = Optimizer(name=OptimizerName.SGD, learning_rate=10)
    ended = stage("train", spec(few_digits, store, optimizer=optimizer))
    assert (ended.code, ended.reason) == (65, "Diverged")


def test_a_store_that_vanishes_during_the_upload_is_temporary_and_nothing_claims_to_be_done(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    def away(self: Any, path: Path, key: str, *, sha256: str | None = None) -> None:
        raise Unreachable(f"{self.uri} does not answer; check the endpoint")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "upload", away)
        ended = stage("train", spec(few_digits, store))
    assert (ended.code, ended.reason) == (75, "StoreUnreachable")
    assert not (store / ".runs" / "1" / "metrics.json").exists()
    assert stage("train", spec(few_digits, store)).code == 0


def test_a_store_that_vanishes_while_publishing_leaves_no_version_and_the_next_attempt_succeeds(
    simply_trained: Any, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    upload = LocalStore.upload

    def away(self: Any, path: Path, key: str, *, sha256: str | None = None) -> None:
        if "variables" in key:
            raise Unreachable(f"{self.uri} does not answer; check the endpoint")
        upload(self, path, key, sha256=sha256)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "upload", away)
        ended = stage("export", simply_trained.spec)
    assert (ended.code, ended.reason) == (75, "StoreUnreachable")
    assert not (simply_trained.run / "manifest.json").exists()
    ended = stage("export", simply_trained.spec)
    assert (ended.code, (simply_trained.run / "manifest.json").exists()) == (0, True)


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 20 kB: the operating system answers as a full disk does.

    Not for longer than what is tested: pytest's own output may go to a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_when_the_model_is_saved(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    with small_files():
        ended = stage("train", spec(few_digits, store))
    assert (ended.code, ended.reason) == (65, "DiskFull")


def test_a_disk_that_is_full_when_images_do_not_fit_into_memory(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1000)
    with small_files():
        ended = stage("train", spec(few_digits, store, data={"image_size": (16, 16)}))
    assert (ended.code, ended.reason) == (65, "DiskFull")
    assert "spec.training.data.imageSize" in ended.sentence


def test_an_error_nobody_thought_of_has_its_type_and_its_traceback_is_logged(
    few_digits: Path,
    store: Path,
    stage: Stage,
    spec: Spec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def break_down(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(conclusion, "record_of", break_down)
    ended = stage("train", spec(few_digits, store))
    assert (ended.code, ended.reason) == (1, "Unexpected")
    assert ended.sentence == "OSError: [Errno 5] Input/output error"
    assert "in break_down" in caplog.text
    assert {"started", "dataReady", "trained"} <= set(ended.result.times)


def test_sigterm_ends_it_as_something_to_try_again(
    few_digits: Path, store: Path, stage: Stage, spec: Spec, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*arguments: Any, **more: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train_stage, "train", interrupted)
    ended = stage("train", spec(few_digits, store))
    assert (ended.code, ended.reason) == (75, "Interrupted")
    assert "while training on " in ended.sentence


def test_an_export_without_a_training(few_digits: Path, store: Path, stage: Stage, spec: Spec):
    ended = stage("export", spec(few_digits, store))
    assert (ended.code, ended.reason) == (65, "Unexpected")
    assert "Version 1 of vision/digits has no finished training" in ended.sentence


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (None, "KERAS_RUN is not set"),
        ('{"number": "x"}', "KERAS_RUN cannot be read"),
        ("{", "KERAS_RUN cannot be read"),
    ],
    ids=["missing", "wrong type", "no JSON"],
)
def test_a_run_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str | None, told: str):
    monkeypatch.delenv("KERAS_RUN", raising=False)
    if run is not None:
        monkeypatch.setenv("KERAS_RUN", run)
    monkeypatch.setenv("KERAS_TERMINATION_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("KERAS_PROGRESS_PORT", "0")
    monkeypatch.setattr(main, "log_json_lines", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    assert main.main(["train"]) == 65
    signal.signal(signal.SIGTERM, before)
    assert told in (tmp_path / "log").read_text()
