"""The agent's command line."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What to fetch, where to put it, and whom to tell. Exactly one of `version` and `rollout_dir` is set."""

    store_uri: str
    endpoint: str | None
    model_name: str
    version: int | None
    rollout_dir: Path | None
    models_dir: Path
    config_file: Path
    cache_dir: Path | None
    cache_gigabytes: int | None
    runtime_url: str
    port: int

    @property
    def base_path(self) -> Path:
        """The folder whose children are this model's versions."""
        return self.models_dir / "servables" / self.model_name

    @property
    def monitoring_file(self) -> Path:
        """The runtime's monitoring configuration, beside its model configuration."""
        return self.config_file.with_name("monitoring.config")


def parse_options(arguments: Sequence[str]) -> Options:
    """The options of a command line without the program's name; ends the process with a usage line on a mistake."""
    parser = argparse.ArgumentParser("keras-agent", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--store-uri", required=True, help="where versions are published: s3://bucket/prefix or file:///path"
    )
    parser.add_argument("--endpoint", default=None, help="address of an S3-compatible service")
    parser.add_argument("--model-name", required=True, help="NAME in /v1/models/NAME")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", type=_count, help="number of the one version to serve")
    which.add_argument("--rollout-dir", type=Path, help="folder whose files say which version to serve, and change")
    parser.add_argument("--models-dir", required=True, type=Path, help="folder shared with the runtime")
    parser.add_argument("--config-file", required=True, type=Path, help="the runtime's --model_config_file")
    parser.add_argument("--cache-dir", type=Path, help="folder on a shared volume that keeps files of servables")
    parser.add_argument("--cache-gigabytes", type=_count, help="most 10^9 bytes in it; left out: nearly all of it")
    parser.add_argument("--runtime-url", default="http://127.0.0.1:8501", type=_url, help="the runtime's REST port")
    parser.add_argument("--port", default=8502, type=int, help="port of /startupz, /readyz, /livez and /status")
    options = Options(**vars(parser.parse_args(arguments)))
    if "/" in options.model_name or options.model_name in {"", ".", ".."}:
        parser.error(f"--model-name must be usable as a folder name, found {options.model_name!r}")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"must be a whole number from 1 on, found {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        msg = f"must be of the form http://host:port, found {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return text.rstrip("/")
