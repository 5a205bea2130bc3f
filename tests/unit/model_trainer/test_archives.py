"""One archive in the place of a folder: what is in it trains, and what could do harm is refused with a sentence."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import Data, Labels

from model_trainer.context import Context
from model_trainer.data import archive
from model_trainer.data.reading import list_data, places_of, read_data
from model_trainer.failure import BadData, OneClass, failure_of

FILES = {"cat/1.png": b"a cat", "cat/2.png": b"another", "dog/3.png": b"a dog"}


def zipped(files: dict[str, bytes], **options: Any) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content, **options)
    return data.getvalue()


def tarred(files: dict[str, bytes], *special: tarfile.TarInfo) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
        for info in special:
            packed.addfile(info)
    return data.getvalue()


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def opened(tmp_path: Path, context: Context) -> Callable[..., Any]:
    def open_it(data: bytes, name: str = "dogs.zip") -> Any:
        (tmp_path / "datasets").mkdir(exist_ok=True)
        (tmp_path / "datasets" / name).write_bytes(data)
        before = len(list(context.scratch.iterdir()))
        return archive.open_archive(f"{tmp_path.as_uri()}/datasets/{name}", None, context, f"data{before}")

    return open_it


WAYS = {
    "dogs.zip": zipped(FILES),
    "dogs.tar": tarred(FILES),
    "dogs.tar.gz": gzip.compress(tarred(FILES)),
    "dogs.tgz": gzip.compress(tarred(FILES)),
    "wrong extension.zip": gzip.compress(tarred(FILES)),
    "wrong extension.tar": zipped(FILES),
    "one folder.zip": zipped({f"dogs/{name}": data for name, data in FILES.items()}),
    "from a mac.zip": zipped({"dogs/" + name: data for name, data in FILES.items()} | {"__MACOSX/dogs/._1.png": b"x"}),
    "from windows.zip": zipped({name.replace("/", "\\"): data for name, data in FILES.items()}),
    "with folders.tar": tarred(FILES, entry("./", tarfile.DIRTYPE), entry("bird", tarfile.DIRTYPE)),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_files_of_an_archive_are_listed_and_read(opened: Callable[..., Any], name: str, context: Context):
    store = opened(WAYS[name], name)
    assert {found.key: store.read(found.key, limit=100) for found in store.list() if found.key in FILES} == FILES
    assert store.uri.endswith(f"/datasets/{name}")
    assert not list(context.scratch.glob("*.archive")), "what was packed takes no room any more"


def traversing(name: str) -> dict[str, bytes]:
    return {**FILES, name: b"x"}


REFUSED: dict[str, tuple[bytes, str]] = {
    "zip, path upwards": (
        zipped(traversing("../../etc/passwd")),
        "entry '../../etc/passwd' that has a part '.' or '..'",
    ),
    "zip, path upwards by backslashes": (zipped(traversing("..\\x")), "entry '../x' that has a part '.' or '..'"),
    "zip, absolute path": (zipped(traversing("/etc/passwd")), "entry '/etc/passwd' that is an absolute path"),
    "zip, folder upwards": (zipped(traversing("../x/")), "entry '../x' that has a part '.' or '..'"),
    "tar, path upwards": (tarred(traversing("cat/../../x")), "that has a part '.' or '..'"),
    "tar, absolute path": (tarred(traversing("/etc/passwd")), "that is an absolute path"),
    "tar, folder upwards": (tarred(FILES, entry("../x", tarfile.DIRTYPE)), "that has a part '.' or '..'"),
    "tar, symbolic link": (
        tarred(FILES, entry("cat/l", tarfile.SYMTYPE, "/etc")),
        "'cat/l' that is a link or a device",
    ),
    "tar, hard link": (tarred(FILES, entry("cat/l", tarfile.LNKTYPE, "cat/1.png")), "that is a link or a device"),
    "tar, device": (tarred(FILES, entry("cat/null", tarfile.CHRTYPE)), "'cat/null' that is a link or a device"),
    "tar, pipe": (tarred(FILES, entry("cat/pipe", tarfile.FIFOTYPE)), "that is a link or a device"),
    "nothing": (b"", "has zero bytes"),
    "words": (b"hello, I am no archive at all" * 40, "is damaged, cut off or no .zip or .tar archive"),
    "zip, cut off": (zipped(FILES)[:-30], "is damaged, cut off"),
    "zip, damaged": (zipped(FILES).replace(b"cat/1.png", b"cat/9.png", 1), "is damaged, cut off"),
    "tar.gz, cut off": (gzip.compress(tarred(FILES))[:-40], "is damaged, cut off"),
    "tar, cut off in a file": (tarred(FILES)[:1100], "is damaged, cut off"),
    "tar, cut off between files": (tarred(FILES)[:1024], "is damaged, cut off"),
    "one name twice": (tarred(FILES)[: 6 * 512] + tarred(FILES), "has names that cannot all be on one disk"),
    "file and folder of one name": (zipped({"cat": b"x", **FILES}), "has names that cannot all be on one disk"),
    "a name for no disk": (tarred({"cat/" + "x" * 300 + ".png": b""}), "has names that cannot all be on one disk"),
}


@pytest.mark.parametrize(("data", "told"), REFUSED.values(), ids=REFUSED)
def test_what_could_do_harm_or_is_damaged_is_refused_as_a_whole(
    opened: Callable[..., Any], tmp_path: Path, context: Context, data: bytes, told: str
):
    with pytest.raises(BadData) as caught:
        opened(data)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path.as_uri()}/datasets/dogs.zip ")
    assert caught.value.exit_code == 65
    outside = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "datasets" / "dogs.zip"}
    assert all(path.is_relative_to(context.scratch / "data0") for path in outside)


def test_a_zip_with_a_symbolic_link(opened: Callable[..., Any]):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        link = zipfile.ZipInfo("cat/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc")
    with pytest.raises(BadData, match="'cat/link' that is a link or a device"):
        opened(data.getvalue())


def test_a_zip_with_a_password(opened: Callable[..., Any]):
    data = bytearray(zipped(FILES))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    with pytest.raises(BadData, match="is encrypted"):
        opened(bytes(data))


def test_zeros_that_would_fill_the_disk(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "RATIO_COUNTS_FROM", 1024**2)
    for bomb in (zipped({"cat/1.png": bytes(20 * 1024**2)}), gzip.compress(tarred({"cat/1.png": bytes(20 * 1024**2)}))):
        with pytest.raises(BadData, match="unpacks to more than 100 times its size"):
            opened(bomb)


def test_a_bomb_whose_list_lies_about_its_size_is_stopped_too(opened: Callable[..., Any], monkeypatch: Any):
    monkeypatch.setattr(archive, "RATIO_COUNTS_FROM", 1024**2)
    size = struct.pack("<I", 20 * 1024**2)
    lying = zipped({"cat/1.png": bytes(20 * 1024**2)}).replace(size, struct.pack("<I", 10))
    with pytest.raises(BadData):
        opened(lying)


def test_more_files_than_are_unpacked(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    for data in (zipped(FILES), tarred(FILES)):
        with pytest.raises(BadData, match="has more than 2 files"):
            opened(data)


def test_the_list_of_a_zip_is_not_read_where_it_says_that_it_has_too_many_files(
    opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 10**9, 10**9, 46 * 10**9, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 0, 4, 1)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BadData, match="has more than 2,000,000 files"):
        opened(b"PK\3\4" + record + locator + end)


def test_a_header_that_would_fill_the_memory(opened: Callable[..., Any]):
    huge = tarfile.TarInfo("x")
    huge.type, huge.size = tarfile.XHDTYPE, 2 * 1024**3
    with pytest.raises(BadData, match="a header of 2,147,483,648 bytes"):
        opened(gzip.compress(huge.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000)))


def test_an_archive_that_does_not_fit_on_the_disk(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "SPARE_BYTES", 10**15)
    with pytest.raises(OSError, match="No space left") as caught:
        opened(zipped(FILES))
    assert failure_of(caught.value).reason == "DiskFull"


def test_an_archive_that_is_not_there(tmp_path: Path, context: Context):
    with pytest.raises(BadData, match=r"There is no file://.*/dogs.zip. Put the archive there"):
        archive.open_archive(f"{tmp_path.as_uri()}/dogs.zip", None, context, "data")


def test_an_address_is_of_an_archive_by_its_ending():
    assert [archive.is_archive(uri) for uri in ("s3://a/b.zip", "s3://a/b.tar.gz", "s3://a/b", "s3://a.zip")] == [
        True, True, False, False,
    ]  # fmt: skip


def data_of(uri: str, **more: Any) -> Data:
    return Data(uri=uri, image_size=(8, 8), validation_fraction=0.3, test_fraction=0.3, **more)


def test_images_in_an_archive_are_split_as_those_in_a_folder(few_digits: Path, tmp_path: Path, context: Context):
    files = {str(path.relative_to(few_digits)): path.read_bytes() for path in sorted(few_digits.rglob("*.png"))}
    (tmp_path / "digits.tgz").write_bytes(gzip.compress(tarred(files)))
    found = []
    for uri in (few_digits.as_uri(), f"{tmp_path.as_uri()}/digits.tgz"):
        data = data_of(uri)
        found.append(read_data(data, places_of(data, None, context), context))
    (folder, of_folder), (packed, of_packed) = found
    assert packed.examples == folder.examples
    assert np.array_equal(packed.pixels, folder.pixels)
    assert np.array_equal(of_packed.test, of_folder.test)


def test_a_table_of_labels_may_be_in_the_archive(tmp_path: Path, context: Context):
    files = {"dogs/labels.csv": b"file,class\n1,a\n2,b\n", "dogs/1.png": b"x", "dogs/2.png": b"y"}
    (tmp_path / "dogs.zip").write_bytes(zipped(files))
    data = data_of(f"{tmp_path.as_uri()}/dogs.zip", labels=Labels())
    assert list_data(data, places_of(data, None, context)).classes == ("a", "b")


def test_an_archive_of_one_class(tmp_path: Path, context: Context):
    (tmp_path / "dogs.zip").write_bytes(zipped({"cat/1.png": b"x", "cat/2.png": b"y"}))
    data = data_of(f"{tmp_path.as_uri()}/dogs.zip")
    with pytest.raises(OneClass, match=r"dogs.zip has one class folder, 'cat'"):
        list_data(data, places_of(data, None, context))


def test_a_part_of_its_own_may_be_an_archive(few_digits: Path, tmp_path: Path, context: Context):
    (tmp_path / "parts").mkdir()
    some = {f"{digit}/{digit}.png": next((few_digits / str(digit)).iterdir()).read_bytes() for digit in range(10)}
    (tmp_path / "parts" / "test.zip").write_bytes(zipped(some))
    data = data_of(few_digits.as_uri(), test_uri=f"{tmp_path.as_uri()}/parts/test.zip")
    dataset, split = read_data(data, places_of(data, None, context), context)
    assert sorted(dataset.examples[index].key for index in split.test) == sorted(some)
