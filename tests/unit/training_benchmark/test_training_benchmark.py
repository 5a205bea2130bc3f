import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from keras_operator.api import decode_model

from benchmarks.training import first_step, memory, mnist, photos, rows
from benchmarks.training.errors import BenchmarkError


def test_the_example_of_mnist_is_short_and_can_be_used():
    text = mnist.EXAMPLE.read_text()
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) < 25
    spec = decode_model(yaml.safe_load(text)["spec"])
    assert spec.training is not None
    assert spec.training.data.test_uri is not None


def test_idx_files_are_read_as_their_format_says():
    data = b"\0\0\x08\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + bytes(range(6))
    assert np.array_equal(mnist.idx(data), np.arange(6).reshape(2, 3))
    with pytest.raises(BenchmarkError, match="no IDX file"):
        mnist.idx(b"\0\0\x0d\x01" + bytes(8))


def test_the_same_photos_are_cut_each_time(tmp_path: Path):
    def hashes(name: str) -> dict[str, str]:
        images = photos.write_photos(tmp_path / name, 20, 64)
        return {
            str(path.relative_to(images)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in images.rglob("*.jpg")
        }

    first = hashes("one")
    assert len(first) == len(set(first.values())) == 20
    assert len({key.partition("/")[0] for key in first}) == photos.CLASSES
    assert hashes("two") == first


def test_memory_without_a_file_behind_it_is_counted_with_that_of_children():
    program = "import subprocess, sys; x = b'x' * (60 << 20); subprocess.run([sys.executable, '-c', sys.argv[1]])"
    child = "y = b'y' * (50 << 20); print('there', flush=True); input()"
    words = [sys.executable, "-c", program, child]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        memory.watched(process.pid) as watch,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        while watch.peak < 110:
            assert process.poll() is None
        process.stdin.write("\n")
    assert watch.peak < 160


@pytest.mark.parametrize(
    ("message", "done"),
    [
        ("training on 1800 images of 10 classes", False),
        ("epoch 1/3, step 0/25", False),
        ("epoch 1/3, step 1/25", True),
        ("epoch 1/3 done", True),
    ],
)
def test_the_first_step_is_told_from_what_comes_before_it(message: str, done: bool):
    assert bool(first_step.WITHIN.match(message)) is done


def test_the_time_to_an_accuracy_is_that_of_the_first_epoch_which_has_it():
    slow = [(10.0, 0.5), (20.0, 0.8), (30.0, 0.7)]
    quick = [(4.0, 0.6), (8.0, 0.9), (12.0, 1.0)]
    assert rows.same_accuracy(slow, quick) == (0.8, 20.0, 8.0)
    assert rows.same_accuracy(quick, slow) == (0.8, 8.0, 20.0)
    assert rows.same_accuracy(slow, slow) == (0.8, 20.0, 20.0)
