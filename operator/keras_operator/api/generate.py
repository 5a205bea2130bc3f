"""`python -m keras_operator.api.generate`: write `crds/` and `docs/api.md` from the types; `--check` finds drift."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from .crd import crd
from .kinds import GROUP, KINDS
from .reference import reference

_HEAD = (
    "# Written by `python -m keras_operator.api.generate`; change the types in operator/keras_operator/api instead.\n"
)


class _Dumper(yaml.SafeDumper):
    """Block style without anchors, long sentences folded."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def files() -> dict[str, str]:
    """What is generated: path from the project's root, and content."""
    generated = {
        f"crds/{GROUP}_{kind.plural}.yaml": _HEAD
        + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for kind in KINDS
    }
    return generated | {"docs/api.md": reference()}


def drifted(root: Path) -> list[str]:
    """The files under `root` that are not what the types say."""
    return [path for path, text in files().items() if not _same(root / path, text)]


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` name those that differ. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m keras_operator.api.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that differ")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's root (default: here)")
    options = parser.parse_args(arguments)
    if options.check:
        found = drifted(options.root)
        for path in found:
            print(f"{path} is not what the types say: run python -m keras_operator.api.generate", file=sys.stderr)
        return 1 if found else 0
    for path, text in files().items():
        target = options.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
