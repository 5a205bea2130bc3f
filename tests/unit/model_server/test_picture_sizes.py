"""Pictures that say that they are larger than they are, or are larger than anybody should have to decode."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model_server.runtime import picture_sizes, protobufs
from model_server.runtime.dtypes import DataType
from model_server.runtime.errors import ServingError
from model_server.runtime.picture_sizes import MOST_PIXELS, check_pictures
from model_server.runtime.tensor_proto import proto_from_array

_FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n%s\r\n--b--\r\n'


def _file(kind: str = "JPEG", side: int = 64, *, flat: bool = False, mode: str = "L", **options: Any) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (side, side), np.uint8) * np.uint8(not flat)
    written = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(written, kind, **options)
    return written.getvalue()


def _saying(width: int, height: int, *, progressive: bool = False, between: bytes = b"") -> bytes:
    """A JPEG of 64 x 64 pixels that says otherwise; with bytes that mean nothing between two of its segments."""
    content = _file(progressive=progressive)
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    head = content[:at] + between + content[at : at + 5]
    return head + struct.pack(">HH", height, width) + content[at + 9 :]


def _gif(side: int, frames: int = 1) -> bytes:
    """A GIF that says that its frames are so large; behind a comment that looks like a frame, which is none."""
    content = _file("GIF", 16)
    at = content.index(b"\x2c\x00\x00\x00\x00")
    frame = content[at : at + 5] + struct.pack("<HH", side, side) + content[at + 9 : -1]
    return content[:at] + b"\x21\xfe\x0b" + frame[:11] + b"\x00" + frame * frames + b"\x3b"


LARGE = {
    "a GIF": _gif(23_000),
    "a GIF of many frames": _gif(4096, 5),
    "a JPEG": _saying(23_000, 23_000),
    "a progressive JPEG": _saying(23_000, 23_000, progressive=True),
    "a JPEG that Pillow would not open": _saying(23_000, 23_000, between=b"garbage\xff\x00\xff\xff"),
    "a JPEG with a segment more": _saying(23_000, 23_000, between=b"\xff\xfe\x00\x04\xff\xd9"),
    "a PNG": _file("PNG")[:16] + struct.pack(">II", 23_000, 23_000) + _file("PNG")[24:],
}


def _ways(server: Any, content: bytes) -> Iterator[tuple[int, str]]:
    """Status and sentence of each way in which a picture may come over REST."""
    text = base64.b64encode(content).decode()
    bodies = [
        ({"signature_name": "serving_bytes", "instances": [{"b64": text}]}, {}),
        (content, {"Content-Type": "image/jpeg"}),
        (_FORM % content, {"Content-Type": "multipart/form-data; boundary=b"}),
    ]
    for body, headers in bodies:
        answer = server.predict("digits", body, headers)
        yield answer.status, answer.error


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE.keys())
def test_a_picture_that_says_that_it_is_too_large_is_not_decoded(server, peak, content):
    before = peak()
    for status, error in _ways(server, content):
        assert (status, "pixels, and at most 67108864 are decoded: send a smaller picture" in error) == (400, True)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = protobufs.predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "digits", "serving_bytes"
        files = np.array([content], np.object_)
        request.inputs["image"].CopyFrom(proto_from_array(files, DataType.STRING, as_content=False))
        with pytest.raises(grpc.RpcError, match="pixels, and at most 67108864 are decoded") as refused:
            protobufs.prediction_services()[0].PredictionServiceStub(channel).Predict(request, timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert peak() - before < 64 * 1024 * 1024
    assert server.predict("digits", _file(), {"Content-Type": "image/jpeg"}).status == 200


@pytest.fixture
def peak(server) -> Callable[[], int]:
    """The most bytes of memory that the server's process ever held."""

    def look() -> int:
        text = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024

    return look


def _check(*files: bytes) -> None:
    array = np.empty(len(files), np.object_)
    array[:] = files
    check_pictures("image", array)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_larger_than_its_bytes_can_hold_is_refused(progressive):
    content = _saying(8000, 8000, progressive=progressive)
    with pytest.raises(ServingError) as refused:
        _check(_file(), content)
    assert str(refused.value) == (
        f'input "image": a JPEG of {len(content)} bytes says that it has 8000 x 8000 pixels, which so few bytes cannot '
        "hold: the file is cut short, or no picture"
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_no_picture_packs_so_well_that_it_is_taken_for_a_lie(mode, progressive):
    _check(_file(side=3000, flat=True, mode=mode, progressive=progressive, optimize=True, quality=1))
    _check(_file(side=1, mode=mode, progressive=progressive))


def test_the_largest_picture_is_one_of_as_many_pixels():
    def png(width: int, height: int) -> bytes:
        return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height)

    _check(png(8192, MOST_PIXELS // 8192))
    _check(_gif(4096, 4))
    with pytest.raises(ServingError, match="8192 x 8193 pixels"):
        _check(png(8192, MOST_PIXELS // 8192 + 1))


@pytest.mark.parametrize("colours", ["L", "RGB", "1"])
def test_the_frames_of_a_gif_are_counted_as_pillow_writes_them(monkeypatch, colours):
    rng = np.random.default_rng(1)
    frames = [Image.fromarray(rng.integers(0, 255, (40, 50), np.uint8)).convert(colours) for _ in range(3)]
    written = io.BytesIO()
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:], comment=b"\x2c" * 300, duration=40, loop=0)
    monkeypatch.setattr(picture_sizes, "MOST_PIXELS", 3 * 40 * 50)
    _check(written.getvalue())
    monkeypatch.setattr(picture_sizes, "MOST_PIXELS", 3 * 40 * 50 - 1)
    with pytest.raises(ServingError, match="a GIF says that its frames have 6000 pixels"):
        _check(written.getvalue())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b""]), st.binary(max_size=60))
def test_any_bytes_are_looked_at(begin, rest):
    with contextlib.suppress(ServingError):  # any other exception fails the test
        _check(begin + rest)


@pytest.mark.parametrize(
    "files",
    [
        [b"\xff\xd8\xff" + b"\x01\xff" * 100_000],
        [b"\xff\xd8\xff" + b"\x01\xff" * 1000] * 100,
        [b"GIF89a" + bytes(7) + b"\x21\xfe" + b"\x01a" * 100_000],
        [b"GIF89a" + bytes(7) + b"\x21\xfe\x00" * 100_000],
    ],
    ids=["segments", "in many files", "blocks", "extensions"],
)
def test_more_parts_than_any_program_writes_are_not_looked_at(files: list[bytes]):
    with pytest.raises(ServingError, match='input "image": its pictures have more segments than any program writes'):
        check_pictures("image", np.array(files, dtype=object))
