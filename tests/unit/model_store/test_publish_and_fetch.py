"""Publishing and fetching versions: the manifest last, nothing published ever changed, nothing wrong ever fetched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from model_store import (
    AlreadyExists,
    Corrupt,
    Manifest,
    NoSpace,
    NotFound,
    Store,
    StoreError,
    StoreUriError,
    fetch,
    publish,
    read_manifest,
    run_key,
)
from model_store.manifest import ManifestFile, digest_of

INFO = {
    "signatures": {"serving_default": {"inputs": {"image": [None, 8, 8, 1]}}},
    "classes": ["0", "größe x"],
    "imageSize": [8, 8],
    "metrics": {"accuracy": 0.97},
    "tensorflowVersion": "2.21.0",
    "kerasVersion": "3.12.0",
}
FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": bytes(range(256)) * 4096,
    "assets.extra/tf_serving_warmup_requests": b"",
}


class CountingStore:
    """A store that remembers what was sent and fetched."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.uploads: list[str] = []
        self.downloads: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def upload(self, path: Path, key: str, *, sha256: str | None = None) -> None:
        self.uploads.append(key)
        self._store.upload(path, key, sha256=sha256)

    def download(self, key: str, path: Path) -> str:
        self.downloads.append(key)
        return self._store.download(key, path)


def folder_with(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def servable(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "servable", FILES)


@pytest.fixture
def counting(store: Store) -> CountingStore:
    return CountingStore(store)


def store_of(counting: CountingStore) -> Store:
    return counting  # type: ignore[return-value]  # __getattr__ provides the rest


def test_a_published_version_is_fetched_unchanged(store: Store, servable: Path, tmp_path: Path) -> None:
    published = publish(store, 3, servable, INFO)
    fetched = fetch(store, 3, tmp_path / "models")
    assert fetched == published == read_manifest(store, 3)
    assert content(tmp_path / "models" / "3") == FILES
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["3"]


def test_a_manifest_says_what_was_published(store: Store, servable: Path) -> None:
    manifest = publish(store, 3, servable, INFO)
    raw = msgspec.json.decode(store.read(".runs/3/manifest.json", limit=10_000))
    assert {name: raw[name] for name in INFO} == INFO
    assert (raw["format"], raw["number"], raw["bytes"]) == (1, 3, sum(len(data) for data in FILES.values()))
    assert {file["path"]: file["size"] for file in raw["files"]} == {name: len(data) for name, data in FILES.items()}
    lines = sorted(f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in FILES.items())
    assert manifest.digest == "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_servable_lies_where_tensorflow_serving_looks(store: Store, servable: Path) -> None:
    publish(store, 3, servable, {})
    assert {entry.key for entry in store.list("3")} == {f"3/{name}" for name in FILES}


def test_an_unpublished_version_is_not_found(store: Store, tmp_path: Path) -> None:
    store.write("3/saved_model.pb", b"graph")
    with pytest.raises(NotFound, match=f"Version 3 is not published under {store.uri}"):
        fetch(store, 3, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_publishing_again_sends_nothing_and_answers_the_same(counting: CountingStore, servable: Path) -> None:
    first = publish(store_of(counting), 3, servable, INFO)
    counting.uploads.clear()
    assert publish(store_of(counting), 3, servable, INFO) == first
    assert counting.uploads == []


def test_a_published_version_never_changes(store: Store, servable: Path, tmp_path: Path) -> None:
    publish(store, 3, servable, INFO)
    other = folder_with(tmp_path / "other", {**FILES, "saved_model.pb": b"another graph"})
    with pytest.raises(AlreadyExists, match=r"Version 3 is already published .* with other files"):
        publish(store, 3, other, INFO)
    fetch(store, 3, tmp_path / "models")
    assert content(tmp_path / "models" / "3") == FILES
    assert read_manifest(store, 3).metrics == {"accuracy": 0.97}


def test_information_about_a_published_version_never_changes(store: Store, servable: Path) -> None:
    publish(store, 3, servable, INFO)
    with pytest.raises(AlreadyExists, match="the same files with other information"):
        publish(store, 3, servable, {**INFO, "metrics": {"accuracy": 0.5}})
    assert read_manifest(store, 3).metrics == {"accuracy": 0.97}


def test_a_second_publisher_who_comes_between_is_seen(
    store: Store, servable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder_with(tmp_path / "other", {"saved_model.pb": b"another graph"})
    counting = CountingStore(store)

    def write(key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        publish(store, 3, other, {})
        store.write(key, data, only_if_absent=only_if_absent)

    monkeypatch.setattr(counting, "write", write, raising=False)
    with pytest.raises(AlreadyExists, match="already published"):
        publish(store_of(counting), 3, servable, {})


def test_a_manifest_whose_answer_was_lost_counts(store: Store, servable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = CountingStore(store)

    def write(key: str, data: bytes, *, only_if_absent: bool = False) -> None:
        store.write(key, data, only_if_absent=only_if_absent)
        store.write(key, data, only_if_absent=only_if_absent)

    monkeypatch.setattr(counting, "write", write, raising=False)
    assert publish(store_of(counting), 3, servable, INFO) == read_manifest(store, 3)


def test_what_an_earlier_attempt_left_is_reused_or_removed(counting: CountingStore, servable: Path) -> None:
    store = store_of(counting)
    store.write("3/variables/variables.data-00000-of-00002", b"left over")
    store.write("3/saved_model.pb", b"grapx")
    store.upload(servable / "variables/variables.index", "3/variables/variables.index")
    counting.uploads.clear()
    publish(store, 3, servable, {})
    assert "3/variables/variables.index" not in counting.uploads
    assert "3/saved_model.pb" in counting.uploads
    assert {entry.key for entry in store.list("3")} == {f"3/{name}" for name in FILES}


def test_an_empty_folder_is_not_published(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing to publish"):
        publish(store, 3, tmp_path / "nothing", {})


def test_a_link_is_not_published(store: Store, servable: Path) -> None:
    (servable / "link").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="link is not a plain file"):
        publish(store, 3, servable, {})
    assert list(store.list()) == []


def test_a_name_that_no_fetch_would_take_is_not_published(store: Store, servable: Path) -> None:
    (servable / "two\nlines").write_bytes(b"")
    with pytest.raises(StoreUriError, match="control character"):
        publish(store, 3, servable, {})


def test_unknown_information_is_refused(store: Store, servable: Path) -> None:
    with pytest.raises(ValueError, match="accuracy"):
        publish(store, 3, servable, {"accuracy": 1.0})


def test_what_is_there_and_valid_is_not_fetched_again(counting: CountingStore, servable: Path, tmp_path: Path) -> None:
    publish(store_of(counting), 3, servable, {})
    fetch(store_of(counting), 3, tmp_path / "models")
    counting.downloads.clear()
    fetch(store_of(counting), 3, tmp_path / "models")
    assert counting.downloads == []


@pytest.mark.parametrize("damage", ["changed", "missing", "extra"])
def test_what_is_there_and_damaged_is_replaced(store: Store, servable: Path, tmp_path: Path, damage: str) -> None:
    publish(store, 3, servable, {})
    fetch(store, 3, tmp_path / "models")
    folder = tmp_path / "models" / "3"
    match damage:
        case "changed":
            (folder / "saved_model.pb").write_bytes(b"grapx")
        case "missing":
            (folder / "saved_model.pb").unlink()
        case "extra":
            (folder / "extra").write_bytes(b"")
    fetch(store, 3, tmp_path / "models")
    assert content(folder) == FILES
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["3"]


@pytest.mark.parametrize("data", [b"grapx", b"graph and more", b""], ids=["changed", "longer", "emptied"])
def test_a_damaged_object_never_becomes_visible(store: Store, servable: Path, tmp_path: Path, data: bytes) -> None:
    publish(store, 3, servable, {})
    store.write("3/saved_model.pb", data)
    with pytest.raises(Corrupt, match=r"3/saved_model.pb is .* and the manifest says 5 bytes"):
        fetch(store, 3, tmp_path / "models")
    assert not (tmp_path / "models" / "3").exists()
    assert not (tmp_path / "models" / ".fetching-3" / "saved_model.pb").exists()


def test_a_missing_object_is_damage(store: Store, servable: Path, tmp_path: Path) -> None:
    publish(store, 3, servable, {})
    store.delete("3/saved_model.pb")
    with pytest.raises(Corrupt, match="in the manifest and not in the store"):
        fetch(store, 3, tmp_path / "models")


def test_a_fetch_goes_on_where_the_last_one_stopped(counting: CountingStore, servable: Path, tmp_path: Path) -> None:
    publish(store_of(counting), 3, servable, {})
    partial = folder_with(
        tmp_path / "models" / ".fetching-3",
        {"variables/variables.index": b"index", "saved_model.pb": b"grapx", ".1f.partial": b"half"},
    )
    fetch(store_of(counting), 3, tmp_path / "models")
    assert "3/variables/variables.index" not in counting.downloads
    assert "3/saved_model.pb" in counting.downloads
    assert content(tmp_path / "models" / "3") == FILES
    assert not partial.exists()


def manifest_of(*files: ManifestFile, **changes: object) -> bytes:
    good = Manifest(
        number=3,
        digest=digest_of(files),
        bytes=sum(file.size for file in files),
        files=list(files),
        created_at="2026-01-01T00:00:00+00:00",
    )
    return msgspec.json.encode({**msgspec.to_builtins(good), **changes})


EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        (b"{", "is no manifest that can be read"),
        (b"[]", "is no manifest that can be read"),
        (manifest_of(ManifestFile("../../evil", 0, EMPTY)), "names a file '../../evil'"),
        (manifest_of(ManifestFile("/etc/evil", 0, EMPTY)), "which is an absolute path"),
        (manifest_of(ManifestFile("a/./b", 0, EMPTY)), "names a file 'a/./b'"),
        (manifest_of(ManifestFile("a", 0, EMPTY), ManifestFile("a", 0, EMPTY)), "names a file twice"),
        (manifest_of(ManifestFile("a", -1, EMPTY)), "impossible size or hash"),
        (manifest_of(ManifestFile("a", 0, "")), "impossible size or hash"),
        (manifest_of(ManifestFile("a", 0, EMPTY), bytes=1), "sum of bytes"),
        (manifest_of(ManifestFile("a", 0, EMPTY), digest="sha256:0"), "has a digest"),
        (manifest_of(ManifestFile("a", 0, EMPTY), number=4), "describes version 4"),
        (manifest_of(ManifestFile("a", 0, EMPTY), format=2), "has format 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_that_makes_no_sense_is_not_used(store: Store, tmp_path: Path, manifest: bytes, fault: str) -> None:
    store.write(run_key(3, "manifest.json"), manifest)
    with pytest.raises(Corrupt) as caught:
        fetch(store, 3, tmp_path / "deep" / "models")
    assert fault in str(caught.value)
    assert store.uri in str(caught.value)
    assert list(tmp_path.rglob("evil")) == []


def test_a_servable_larger_than_the_disk_is_refused_before_it_is_fetched(store: Store, tmp_path: Path) -> None:
    store.write(run_key(3, "manifest.json"), manifest_of(ManifestFile("a", 10**15, EMPTY)))
    with pytest.raises(NoSpace, match=r"models.* 1,000,000,000,000,000 bytes are needed, [\d,]+ are free"):
        fetch(store, 3, tmp_path / "models")
    assert not (tmp_path / "models" / "3").exists()
