from typing import Literal

def read(
    body: bytes, start: int, end: int, kind: Literal["f", "d", "q", "Q"], /
) -> tuple[bytearray, tuple[int, ...]] | None: ...
