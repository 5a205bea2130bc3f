"""Programs of Debian's packages: from the PATH, from the cache, or fetched, and installed nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster.debian import debian_program
from devcluster.errors import CommandFailedError, MissingPreconditionError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, and an empty cache beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("KERAS_OPERATOR_CACHE", str(tmp_path / "cache"))
    return folder


def program(folder: Path, name: str, script: str = "") -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh -e\nPATH=/usr/bin:/bin\n{script}\n")
    file.chmod(0o755)
    return file


def apt_that_needs_lists(path: Path) -> None:
    """An apt-get that finds a package only after an update, and a dpkg-deb that unpacks it."""
    program(
        path,
        "apt-get",
        f'echo "$1" >> {path}/said\ncase "$1" in update) ;; *) grep -q update {path}/said && touch prom.deb;; esac',
    )
    program(path, "dpkg-deb", 'mkdir -p "$3/usr/bin" && cp "$2" "$3/usr/bin/prom"')


def test_one_of_the_path_is_taken(path: Path) -> None:
    installed = program(path, "prom")
    assert debian_program("prom") == installed


def test_one_is_fetched_once_after_an_update_where_the_lists_are_missing(path: Path, tmp_path: Path) -> None:
    apt_that_needs_lists(path)
    assert debian_program("prom") == debian_program("prom") == tmp_path / "cache/debian/prom/usr/bin/prom"
    assert (path / "said").read_text().split() == ["download", "update", "download"]
    assert sorted(one.name for one in (tmp_path / "cache/debian").iterdir() if one.is_dir()) == ["prom"]


def test_what_cannot_be_had_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPreconditionError, match="prom is not installed, and there is no apt-get: install prom"):
        debian_program("prom")
    program(path, "apt-get", "echo no such package; exit 100")
    with pytest.raises(CommandFailedError, match="no such package"):
        debian_program("prom")
    assert not (tmp_path / "cache/debian/prom").exists()
