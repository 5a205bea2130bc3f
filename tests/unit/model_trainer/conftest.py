"""Real images, real TensorFlow, and a local folder as the store."""

import io
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import msgspec
import numpy as np
import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    ColorMode,
    Data,
    ProgressStage,
    RunResult,
    RunSpec,
    Source,
    Store,
    Training,
)
from PIL import Image
from sklearn.datasets import load_digits
from tensorflow.python.framework.config import disable_op_determinism

from model_trainer import machine, main
from model_trainer.context import Context
from model_trainer.patience import Patience
from model_trainer.progress import ProgressBoard

EncodeImage = Callable[..., bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def encode(pixels: Any, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels)
    data = io.BytesIO()
    (image.convert(mode) if mode else image).save(data, kind, **options)
    return data.getvalue()


@pytest.fixture(scope="session")
def encode_image() -> EncodeImage:
    """Encode uint8 pixels as a file's bytes: (pixels, "PNG", mode="L", …)."""
    return encode


@pytest.fixture(scope="session")
def picture() -> Any:
    """uint8 [90, 120, 3]: smooth gradients of different directions in each channel."""
    down, right = np.mgrid[0:90, 0:120]
    return np.stack([right * 2, down * 2.5, (right + down) * 1.2], axis=-1).astype(np.uint8)


def write_digits(folder: Path, each_class: int) -> Path:
    digits = load_digits()
    written = dict.fromkeys(range(10), 0)
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if written[label] < each_class:
            written[label] += 1
            path = folder / str(label) / f"{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode((image * 255 / 16).round().astype(np.uint8)))
    return folder


@pytest.fixture(scope="session")
def all_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 1,797 digits of scikit-learn as 8 x 8 PNG files in class folders."""
    return write_digits(tmp_path_factory.mktemp("digits"), 10_000)


@pytest.fixture
def few_digits(tmp_path: Path) -> Path:
    """12 digits of each class; a test may spoil them."""
    return write_digits(tmp_path / "digits", 12)


def spec_of(
    folder: Path | None,
    store: Path,
    /,
    *,
    number: int = 1,
    owner: str = "uid-1",
    source: Path | None = None,
    **training: Any,
) -> RunSpec:
    of_data: dict[str, Any] = {"image_size": (10, 10), "color_mode": ColorMode.GRAYSCALE, **training.pop("data", {})}
    return RunSpec(
        model_name="digits",
        model="vision/digits",
        number=number,
        owner=owner,
        store=Store(uri=store.as_uri()),
        source=Source(uri=source.as_uri()) if source else None,
        training=Training(
            data=Data(uri=folder.as_uri(), **of_data),
            # SimpleCNN at its smallest image: what costs least where the network does not matter.
            **{"epochs": 1, "architecture": Architecture(name=ArchitectureName.SIMPLE_CNN), **training},
        )
        if folder
        else None,
    )


@pytest.fixture(scope="session")
def spec() -> Callable[..., RunSpec]:
    """A RunSpec: (data folder or None, store folder, number=, owner=, source=, data={…}, epochs=, …)."""
    return spec_of


@pytest.fixture
def context(tmp_path: Path) -> Context:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Context(ProgressBoard(ProgressStage.FETCHING), Patience(0), scratch)


@dataclass(frozen=True)
class Ended:
    """How the console script ended: exit code, result, and the bytes of the termination message."""

    code: int
    result: RunResult
    message: bytes

    @property
    def reason(self) -> str:
        assert self.result.error is not None
        return self.result.error.reason

    @property
    def sentence(self) -> str:
        assert self.result.error is not None
        return self.result.error.message


def run_stage(stage: str, spec: RunSpec, folder: Path, *flags: str) -> Ended:
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    log = folder / "termination-log"
    environment = {
        "KERAS_RUN": msgspec.json.encode(spec).decode(),
        "KERAS_SCRATCH": str(folder / "scratch"),
        "KERAS_TERMINATION_LOG": str(log),
        "KERAS_PROGRESS_PORT": "0",
        "KERAS_STORE_PATIENCE_SECONDS": "0.2",
    }
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        # Thread pools can be sized once in a process, and the log belongs to pytest here.
        patch.setattr(machine, "configure_tensorflow", lambda: None)
        patch.setattr(main, "log_json_lines", lambda: None)
        try:
            code = main.main([stage, *flags])
        finally:
            signal.signal(signal.SIGTERM, before)
            # A run asks for it in its own process; here other tests come after it, which may ask for XLA.
            disable_op_determinism()
    assert list((folder / "scratch").iterdir()) == [], "a stage leaves nothing on the scratch volume"
    message = log.read_bytes()
    return Ended(code, msgspec.json.decode(message, type=RunResult), message)


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Ended]:
    """Run the console script's function in this process: ("train" or "export", spec), and flags."""
    return lambda name, spec, *flags: run_stage(name, spec, tmp_path / "run", *flags)


@dataclass(frozen=True)
class Trained:
    """A finished training of all the digits, and the store that it is in."""

    store: Path
    spec: RunSpec
    ended: Ended

    @property
    def run(self) -> Path:
        return self.store / ".runs" / "1"


@pytest.fixture(scope="session")
def trained(all_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """SmallCNN on all the digits at 16 x 16; costs some 15 seconds, once."""
    folder = tmp_path_factory.mktemp("trained")
    run = spec_of(all_digits, folder / "store", epochs=6, architecture=Architecture(), data={"image_size": (16, 16)})
    return Trained(folder / "store", run, run_stage("train", run, folder))


@pytest.fixture(scope="session")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The export of that training; the servable is in `trained.store / "1"`."""
    return run_stage("export", trained.spec, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def _simply_trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("simply-trained")
    run = spec_of(write_digits(folder / "digits", 12), folder / "store")
    return Trained(folder / "store", run, run_stage("train", run, folder))


@pytest.fixture
def simply_trained(_simply_trained: Trained, tmp_path: Path) -> Trained:
    """A copy of a finished training of SimpleCNN on a few digits; a test may spoil it."""
    assert _simply_trained.ended.code == 0
    store = tmp_path / "trained"
    shutil.copytree(_simply_trained.store, store)
    run = msgspec.structs.replace(_simply_trained.spec, store=Store(uri=store.as_uri()))
    return Trained(store, run, _simply_trained.ended)
