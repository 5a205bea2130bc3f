import ctypes
from collections.abc import Sequence
from typing import Any, final

from model_server.runtime.dtypes import Array

@final
class Tensor:
    @property
    def pointer(self) -> int: ...
    @property
    def dtype(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def bind(handle: int, /) -> None: ...
def tensor(dtype: int, values: Array, /) -> Tensor: ...
def adopt(pointer: int, /) -> Tensor: ...
def run(
    session: int,
    options: int,
    feeds: ctypes.Array[Any],
    inputs: Sequence[Tensor],
    fetches: ctypes.Array[Any],
    status: int,
    /,
) -> list[Tensor] | None: ...
