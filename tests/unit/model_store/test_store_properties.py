"""What holds for every tree of files and every name."""

from __future__ import annotations

import random
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store import Corrupt, StoreUriError, fetch, open_store, publish, read_manifest, run_key
from model_store.keys import key_fault
from model_store.manifest import Manifest, ManifestFile, digest_of, write_manifest

# Names of any letters but control characters and lone surrogates; a file system allows 255 bytes for each.
part = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(part, min_size=1, max_size=4).map("/".join)


def without_file_as_folder(files: dict[str, bytes]) -> bool:
    """Whether no file's name is also the name of another one's folder: no file system could hold both."""
    return not any(parent.as_posix() in files for name in files for parent in PurePosixPath(name).parents)


trees = st.dictionaries(paths, st.binary(max_size=64), min_size=1, max_size=6).filter(without_file_as_folder)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
manifest_files = st.lists(st.builds(ManifestFile, paths, st.integers(0, 2**40), hashes), min_size=1, max_size=8)

traversals = st.one_of(
    paths.map("/".__add__),
    st.tuples(paths, paths).map("/../".join),
    paths.map("../".__add__),
    paths.map(lambda path: f"{path}/.."),
    st.tuples(paths, st.sampled_from("\0\n\r\t\x7f"), paths).map("".join),
    st.tuples(paths, paths).map("//".join),
)


@settings(max_examples=60, deadline=None)
@given(tree=trees, number=st.integers(1, 10**6))
def test_any_tree_is_fetched_as_it_was_published(tree: dict[str, bytes], number: int) -> None:
    with TemporaryDirectory() as folder:
        for name, data in tree.items():
            path = Path(folder, "servable", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        store = open_store(Path(folder, "store").as_uri())
        manifest = publish(store, number, Path(folder, "servable"), {})
        fetch(store, number, Path(folder, "models"))
        target = Path(folder, "models", str(number))
        fetched = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
        assert fetched == tree
        assert manifest.bytes == sum(map(len, tree.values()))
        assert read_manifest(store, number) == manifest


@given(files=manifest_files, seed=st.integers())
def test_a_digest_does_not_depend_on_the_order_of_the_files(files: list[ManifestFile], seed: int) -> None:
    shuffled = random.Random(seed).sample(files, len(files))
    assert digest_of(shuffled) == digest_of(files)


@given(files=manifest_files, index=st.integers(0), change=st.sampled_from(["size", "path", "sha256"]))
def test_a_digest_depends_on_every_file(files: list[ManifestFile], index: int, change: str) -> None:
    old = files[index % len(files)]
    match change:
        case "size":
            new = ManifestFile(old.path, old.size + 1, old.sha256)
        case "path":
            new = ManifestFile(f"{old.path}x", old.size, old.sha256)
        case _:
            new = ManifestFile(old.path, old.size, old.sha256[::-1])
    changed = [new if file is old else file for file in files]
    assert (digest_of(changed) == digest_of(files)) == (new == old)


@given(name=traversals)
def test_no_store_takes_a_name_that_could_leave_it(name: str) -> None:
    assert key_fault(name)
    store = open_store("file:///nowhere/at/all")
    with pytest.raises(StoreUriError):
        store.write(name, b"")


@given(name=traversals)
def test_no_manifest_may_name_a_file_outside(name: str) -> None:
    file = ManifestFile(name, 0, "0" * 64)
    manifest = Manifest(number=1, digest=digest_of([file]), bytes=0, files=[file], created_at="2026-01-01T00:00:00Z")
    with TemporaryDirectory() as folder:
        store = open_store(Path(folder, "store").as_uri())
        write_manifest(store, manifest)
        assert store.exists(run_key(1, "manifest.json"))
        with pytest.raises(Corrupt, match="names a file"):
            fetch(store, 1, Path(folder, "models"))
        assert not Path(folder, "models").exists()


@given(name=paths)
def test_every_ordinary_name_is_a_key(name: str) -> None:
    assert key_fault(name) is None
