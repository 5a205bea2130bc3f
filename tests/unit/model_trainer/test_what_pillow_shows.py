"""What Pillow shows is what trains, pixel by pixel and at the image's own size; and what the signature makes of it."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from model_trainer.data.decoding import Decoder, decode, served_form
from model_trainer.data.formats import BadImage

DOWN, RIGHT = np.mgrid[0:90, 0:120]
COLOURS = Image.fromarray(np.stack([RIGHT * 2, DOWN * 2.5, (RIGHT + DOWN) * 1.2], axis=-1).astype(np.uint8))
ALPHA = Image.fromarray((RIGHT * 2).astype(np.uint8))
PALETTE = COLOURS.convert("P", palette=Image.Palette.ADAPTIVE)
GREY = COLOURS.convert("L")
TRANSPARENT = COLOURS.copy()
TRANSPARENT.putalpha(ALPHA)
TRAINED = Decoder(90, 120, 3, 2)
TRAINED_GREY = Decoder(90, 120, 1, 2)


def file(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def os2_bmp() -> bytes:
    """24 bits a pixel behind the 12 bytes of an OS/2 header; Pillow reads it and does not write it."""
    rows = np.asarray(COLOURS)[::-1, :, ::-1].tobytes()
    return b"BM" + struct.pack("<IIIIHHHH", 26 + len(rows), 0, 26, 12, 120, 90, 1, 24) + rows


def moving(kind: str) -> bytes:
    return file(COLOURS, kind, save_all=True, append_images=[ImageOps.invert(COLOURS)])


FILES: dict[str, bytes] = {
    "JPEG": file(COLOURS, "JPEG"),
    "JPEG, progressive": file(COLOURS, "JPEG", progressive=True),
    "JPEG, not subsampled": file(COLOURS, "JPEG", quality=95, subsampling=0),
    "JPEG, grey": file(GREY, "JPEG"),
    "JPEG, CMYK": file(COLOURS.convert("CMYK"), "JPEG"),
    "PNG": file(COLOURS, "PNG"),
    "PNG, grey": file(GREY, "PNG"),
    "PNG, 1 bit": file(COLOURS.convert("1"), "PNG"),
    "PNG, palette": file(PALETTE, "PNG"),
    "PNG, palette with a transparent colour": file(PALETTE, "PNG", transparency=3),
    "PNG, grey with alpha": file(TRANSPARENT.convert("LA"), "PNG"),
    "PNG, alpha": file(TRANSPARENT, "PNG"),
    "PNG, 16-bit colours": tf.io.encode_png(np.asarray(COLOURS).astype(np.uint16) * 256 + 77).numpy(),
    "BMP": file(COLOURS, "BMP"),
    "BMP, grey": file(GREY, "BMP"),
    "BMP, alpha": file(TRANSPARENT, "BMP"),
    "GIF": file(PALETTE, "GIF"),
    "GIF, grey": file(GREY, "GIF"),
    "GIF, moving": moving("GIF"),
}
# What the signature reads as well, but not as it is shown, or not at all.
IN_TRAINING_ALONE: dict[str, bytes] = {
    "BMP, palette": file(PALETTE, "BMP"),
    "BMP, 1 bit": file(COLOURS.convert("1"), "BMP"),
    "BMP, OS/2": os2_bmp(),
    "GIF, a transparent colour": file(PALETTE, "GIF", transparency=3),
    "WebP": file(COLOURS, "WEBP"),
    "WebP, lossless with alpha": file(TRANSPARENT, "WEBP", lossless=True),
    "WebP, lossy with alpha": file(TRANSPARENT, "WEBP"),
    "WebP, moving": moving("WEBP"),
}


def shown(data: bytes, mode: str = "RGB") -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB").convert(mode)).astype(int)


def served(data: bytes, height: int = 90, width: int = 120) -> Any:
    """As the exported signature decodes it."""
    return decode(tf.constant(data), height, width, 3).numpy()


@pytest.mark.parametrize("data", (FILES | IN_TRAINING_ALONE).values(), ids=FILES | IN_TRAINING_ALONE)
def test_what_pillow_shows_is_what_trains(data: bytes):
    assert np.array_equal(TRAINED(data), shown(data))
    # Pillow rounds twice on the way to grey.
    assert np.abs(TRAINED_GREY(data)[..., 0] - shown(data, "L")).max() <= 1


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_the_exported_signature_sees_what_trains(data: bytes):
    assert np.array_equal(served(data), TRAINED(data))
    assert served_form(data, TRAINED(data)) is data


@pytest.mark.parametrize("data", IN_TRAINING_ALONE.values(), ids=IN_TRAINING_ALONE)
def test_what_the_signature_would_see_differently_is_compared_as_a_png(data: bytes):
    form = served_form(data, TRAINED(data))
    assert form.startswith(b"\x89PNG")
    assert np.array_equal(served(form), TRAINED(data))


@pytest.mark.parametrize("name", [name for name in IN_TRAINING_ALONE if "GIF" not in name])
def test_the_signature_refuses_what_it_cannot_show_rightly(name: str):
    """A moving WebP would corrupt the server's memory in TensorFlow's own decoder."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        served(IN_TRAINING_ALONE[name])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_orientation_says(kind: str, orientation: int):
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    exif[0x0112] = orientation
    data = file(COLOURS, kind, exif=exif)
    height, width = (90, 120) if orientation < 5 else (120, 90)
    assert np.array_equal(Decoder(height, width, 3, 1)(data), shown(data))
    if kind == "JPEG":
        assert np.array_equal(served(data, height, width), shown(data))


def app1(exif: bytes) -> bytes:
    """A JPEG with another APP1 segment before the one that holds `exif`, and fill bytes between them."""
    jpeg = FILES["JPEG"]
    other = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    segments = [b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body for body in (other, b"Exif\0\0" + exif)]
    return jpeg[:2] + b"\xff\xff".join(segments) + jpeg[2:]


def tiff(order: str, kind: int = 3, value: int = 6, count: int = 1, directory: int = 8) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = struct.pack(
        order + ("HHIHH" if kind == 3 else "HHII"), 0x0112, kind, 1, *([value, 0] if kind == 3 else [value])
    )
    return mark + struct.pack(order + "I", directory) + struct.pack(order + "H", count) + body + b"\0" * 4


@pytest.mark.parametrize("exif", [tiff("<"), tiff(">"), tiff("<", kind=4), tiff(">", kind=4)], ids=range(4))
def test_both_orders_of_bytes_and_both_sizes_are_read(exif: bytes):
    data = app1(exif)
    assert np.array_equal(served(data, 120, 90), shown(data))
    assert shown(data).shape == (120, 90, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"", b"II", tiff("<")[:11], tiff("<", value=0), tiff("<", value=9), tiff(">", directory=2**31 + 8),
        tiff(">", directory=2**24), b"\xff" * 300,
    ],
    ids=["nothing", "cut", "cut directory", "0", "9", "negative", "far away", "noise"],
)  # fmt: skip
def test_a_damaged_orientation_turns_nothing(exif: bytes):
    assert np.array_equal(served(app1(exif)), served(FILES["JPEG"]))


def test_of_16_bits_of_grey_the_higher_8_count():
    """Pillow's own conversion cuts everything above 255 off, and shows nearly all of such an image as white."""
    deep = np.asarray(GREY).astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 3
    for options, pixels in (({}, np.asarray(GREY)), ({"exif": exif}, np.asarray(GREY)[::-1, ::-1])):
        data = file(Image.fromarray(deep), "PNG", **options)
        assert np.array_equal(TRAINED(data)[..., 0], pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_images_are_resized_as_pillow_does(kind: str):
    data = file(PALETTE if kind == "GIF" else COLOURS, kind)
    with Image.open(io.BytesIO(data)) as image:
        wanted = image.convert("RGB").resize((60, 45), Image.Resampling.BILINEAR)
    for channels, mode in ((3, "RGB"), (1, "L")):
        pixels = Decoder(45, 60, channels, 1)(data)
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - np.asarray(wanted.convert(mode)).reshape(pixels.shape)).max() <= 2


def test_a_decompression_bomb_is_refused_from_its_header():
    """Half a megabyte that would be 2.7 GB of pixels."""
    row = zlib.compress(bytes(30_000 * 900), 9)
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with pytest.raises(BadImage, match="a PNG of 30000 x 30000 pixels, more than 50 million"):
        TRAINED(bomb)


def test_the_extension_decides_nothing(tmp_path: Any):
    for name in ("JPEG", "PNG", "WebP", "GIF", "BMP"):
        data = (FILES | IN_TRAINING_ALONE)[name]
        (tmp_path / "wrong.png").write_bytes(data)
        assert np.array_equal(TRAINED((tmp_path / "wrong.png").read_bytes()), shown(data))
