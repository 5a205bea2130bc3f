import contextlib
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_trainer.data.formats import BadImage, Format, Header, read_header


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"x" * 60_000}),
        ("GIF", {}),
        ("BMP", {}),
        ("BMP", {"mode": "RGBA"}),
        ("BMP", {"mode": "L"}),
        ("WEBP", {}),
        ("WEBP", {"mode": "RGBA", "lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
    ],
    ids=[
        "png",
        "jpeg",
        "progressive jpeg",
        "jpeg with a long comment",
        "gif",
        "bmp",
        "bmp with alpha",
        "grey bmp",
        "webp",
        "lossless webp",
        "extended webp",
    ],
)
def test_format_and_size_come_from_the_content(encode_image: Any, picture: Any, kind: str, options: dict[str, Any]):
    assert read_header(encode_image(picture, kind, **options)) == Header(Format(kind), 120, 90)


def test_a_bmp_of_the_nineties_has_its_size_in_16_bits():
    old = b"BM" + struct.pack("<IIIIHHHH", 0, 0, 26, 12, 120, 90, 1, 24)
    assert read_header(old) == Header(Format.BMP, 120, 90)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "zero bytes"),
        (b"hello, I am a text", "not a PNG, JPEG, GIF, BMP or WebP image (it begins with b'hello, I')"),
        (b"%PDF-1.7", "not a PNG, JPEG, GIF, BMP or WebP image (PDF)"),
        (b"<!DOCTYPE html>", "not a PNG, JPEG, GIF, BMP or WebP image (HTML)"),
        (b"\x89PNG\r\n\x1a\n\0\0", "truncated within its header"),
        (b"\xff\xd8\xff\xe0", "truncated within its header"),
        (b"\xff\xd8\xff\xd9", "a JPEG without a frame"),
        (b"\xff\xd8\xff\xe0\x00\x04abXX", "a JPEG with damaged segments"),
        (b"GIF89a\0\0\0\0", "a GIF of 0 x 0 pixels"),
        (b"RIFF\0\0\0\0WEBP", "truncated within its header"),
        (b"RIFF\0\0\0\0WEBPICCP", "a WebP without a picture"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not a PNG, JPEG, GIF, BMP or WebP image (a RIFF file other than WebP)"),
    ],
    ids=[
        "empty",
        "text",
        "pdf",
        "html",
        "cut png",
        "cut jpeg",
        "no frame",
        "segments",
        "no pixels",
        "cut webp",
        "no picture",
        "sound",
    ],
)
def test_what_is_wrong_is_said_in_a_phrase(data: bytes, fault: str):
    with pytest.raises(BadImage) as caught:
        read_header(data)
    assert str(caught.value) == fault


def test_a_small_file_that_claims_a_huge_picture_is_refused_before_it_is_decoded():
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(BadImage, match="a PNG of 60000 x 60000 pixels, more than 50 million"):
        read_header(bomb)


@given(st.data())
def test_no_bytes_at_all_raise_anything_else(data: st.DataObject):
    start = data.draw(
        st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8"])
    )
    with contextlib.suppress(BadImage):
        header = read_header(start + data.draw(st.binary(max_size=200)))
        assert 1 <= header.width * header.height <= 50_000_000
