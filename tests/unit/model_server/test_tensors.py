"""Tensors in TensorFlow's memory and runs of graphs: what goes in comes out, stays while it is looked at, and goes."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_server.runtime import _tensors
from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import Code, ServingError
from model_server.runtime.servable import LoadOptions, Servable
from model_server.runtime.tensorflow_c import Output, Tensor, array_from, library, tensor_from

NUMBERS = [dtype for dtype in DataType if dtype.numpy is not None and dtype is not DataType.STRING]
SHAPES = [(), (1,), (0,), (3, 0, 2), (2, 3), (1, 2, 3, 4, 5, 6, 7, 8), (70_000,), (300, 301)]


@pytest.fixture(scope="module")
def types(models) -> Any:
    """A servable with a signature for each type that gives back what it gets."""
    servable = Servable(models / "types" / "1", LoadOptions())
    yield servable
    servable.close()


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Any:
    """TensorFlow's library, without which there are no tensors."""
    return library()


def some(dtype: DataType, shape: tuple[int, ...]) -> Any:
    """Any bits that the type may have."""
    assert dtype.numpy is not None
    size = int(np.prod(shape, dtype=int)) * dtype.numpy.itemsize
    bits = np.random.default_rng(size).integers(0, 2 if dtype is DataType.BOOL else 256, size, np.uint8)
    return bits.view(dtype.numpy).reshape(shape)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.label)
def test_an_array_comes_back_bit_by_bit(dtype, shape):
    array = some(dtype, shape)
    tensor = tensor_from(array, dtype)
    assert (tensor.dtype, tensor.shape) == (dtype, shape)
    found = array_from(tensor)
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, shape, array.tobytes())


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 2)], ids=str)
def test_strings_come_back(shape):
    strings = np.full(shape, b"", np.object_)
    strings.reshape(-1)[:] = [b"\0\xff" * 20 * n for n in range(strings.size)]  # short ones lie within TF_TString
    tensor = tensor_from(strings, DataType.STRING)
    assert (tensor.dtype, tensor.shape) == (DataType.STRING, shape)
    assert array_from(tensor).tolist() == strings.tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4).T,
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.arange(20.0)[::-2],
        np.broadcast_to(np.float64(7), (3, 2)),
    ],
    ids=["turned", "in Fortran's order", "backwards", "repeated"],
)
def test_an_array_in_any_order_is_written_in_c_order(array):
    assert np.array_equal(array_from(tensor_from(array, DataType.DOUBLE)), array)


def test_elements_of_another_type_are_not_taken():
    with pytest.raises(TypeError, match="a tensor of type float cannot hold elements of float64"):
        tensor_from(np.zeros(2), DataType.FLOAT)
    with pytest.raises(ServingError, match="tensors of type resource cannot be sent to this server"):
        tensor_from(np.zeros(2), DataType.RESOURCE)


def test_a_view_cannot_be_written_to_and_keeps_its_tensor():
    tensor = tensor_from(np.arange(100_000, dtype=np.int64), DataType.INT64)
    view = array_from(tensor)
    assert not view.flags.writeable
    del tensor
    gc.collect()
    others = [tensor_from(np.zeros(100_000, np.int64), DataType.INT64) for _ in range(20)]  # would take its place
    assert np.array_equal(view, np.arange(100_000))
    assert len(others) == 20


def test_a_tensor_is_freed_with_its_last_view():
    def use() -> None:
        for _ in range(200):
            assert array_from(tensor_from(np.ones(1_000_000, np.uint8), DataType.UINT8))[-1] == 1

    use()
    before = resident_bytes()
    use()
    assert resident_bytes() - before < 20_000_000


def run(servable: Servable, name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    signature = servable.interface.signature(name)
    return servable.run(signature, inputs, list(signature.outputs))


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: dtype.label)
def test_a_graph_gets_what_was_sent(types, dtype):
    name = {DataType.FLOAT: "float32", DataType.DOUBLE: "float64", DataType.HALF: "float16"}.get(dtype, dtype.label)
    for shape in ((), (2, 3), (30_000,)):
        array = some(dtype, shape)
        found = run(types, f"{name}_any", {"x": array})["y"]
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, shape, array.tobytes())


def test_several_inputs_and_outputs_keep_their_order(types):
    a, b = np.array([[1, 2], [3, 4]], np.float32), np.array([10, 20], np.int64)
    found = run(types, "two", {"b": b, "a": a})
    assert list(found) == ["a", "b"]
    assert np.array_equal(found["a"], a)
    assert np.array_equal(found["b"], b)
    found = run(types, "one_to_two", {"b": b})
    assert found["double"].tolist() == [20, 40]
    assert found["text_bytes"].tolist() == [b"10", b"20"]
    assert run(types, "none", {})["one"].tolist() == [1.0]


def test_tensorflows_error_is_raised_and_the_next_run_is_well(types):
    with pytest.raises(ServingError) as caught:
        run(types, "two_to_one", {"a": np.ones((2, 2), np.float32), "b": np.ones(3, np.int64)})
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "Incompatible shapes: [2,2] vs. [3,1]" in str(caught.value)
    assert run(types, "two_to_one", {"a": np.ones((2, 2), np.float32), "b": np.array([2, 3], np.int64)})[
        "y"
    ].tolist() == [
        [2, 2],
        [3, 3],
    ]


def test_runs_leave_no_memory_behind(types):
    a, b = np.ones((50_000, 2), np.float32), np.ones(50_000, np.int64)

    def use() -> None:
        for _ in range(100):
            assert run(types, "two", {"a": a, "b": b})["b"].size == 50_000
            with pytest.raises(ServingError):
                run(types, "two_to_one", {"a": a, "b": b[:-1]})

    use()
    before = resident_bytes()
    use()
    assert resident_bytes() - before < 20_000_000


def test_threads_run_one_graph_at_the_same_time(types):
    def use(number: int) -> bool:
        array = np.full((1_000, 30), number, np.float32)
        answers = [run(types, "float32_any", {"x": array})["y"] for _ in range(50)]
        return all(np.array_equal(answer, array) for answer in answers)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(8))) == [True] * 8


def test_other_threads_go_on_while_a_graph_runs(models):
    servable = Servable(models / "kinds" / "1", LoadOptions())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, servable, "slow", {"rounds": np.array([1_000], np.int32)})
        waits = 0
        while not wait([running], 0.001).done:
            waits += 1
    assert running.result()["rows"].tolist() == [1]
    servable.close()
    assert waits > 20  # with Python's lock held there would be one or two


def test_a_closed_session_is_not_run(models):
    servable = Servable(models / "types" / "1", LoadOptions())
    servable.close()
    with pytest.raises(RuntimeError, match="the session is closed"):
        servable._session.run((Output * 0)(), [], (Output * 0)())


def test_what_does_not_belong_together_is_refused_before_tensorflow_sees_it(types):
    session = types._session
    feeds, fetches = session.outputs(["Placeholder:0"]), session.outputs(["Identity:0"])
    tensor = tensor_from(np.ones((), np.float32), DataType.FLOAT)
    with pytest.raises(ValueError, match="2 inputs for feeds of 16 bytes"):
        session.run(feeds, [tensor, tensor], fetches)
    with pytest.raises(TypeError, match="input 0 is not a Tensor"):
        session.run(feeds, [np.float32(1)], fetches)
    with pytest.raises(ValueError, match="no session"):
        _tensors.run(0, 0, feeds, [tensor], fetches, 0)
    with pytest.raises(TypeError, match="cannot create"):
        Tensor()
    with pytest.raises(ValueError, match="no tensor"):
        _tensors.adopt(0)


def test_nothing_is_made_without_tensorflows_library():
    code = (
        "import numpy, pytest\n"
        "from model_server.runtime import _tensors\n"
        "with pytest.raises(RuntimeError, match='bind TensorFlow'): _tensors.tensor(1, numpy.zeros(2, numpy.float32))\n"
        "with pytest.raises(RuntimeError, match='bind TensorFlow'): _tensors.adopt(16)\n"
        "with pytest.raises(ValueError, match='no library'): _tensors.bind(0)\n"
        "import ctypes\n"
        "with pytest.raises(OSError, match='has no TF_AllocateTensor'): _tensors.bind(ctypes.CDLL(None)._handle)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
