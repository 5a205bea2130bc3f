"""The files that tell the runtime what to serve, in TensorFlow Serving's text formats."""

from __future__ import annotations

import json
import os
from pathlib import Path

METRICS_PATH = "/monitoring/prometheus/metrics"
MONITORING_CONFIG = f'prometheus_config {{ enable: true, path: "{METRICS_PATH}" }}\n'


def models_config(name: str, base_path: Path, *versions: int) -> str:
    """A ModelServerConfig with one model and exactly these of its versions."""
    numbers = " ".join(f"versions: {version}" for version in versions)
    return (
        "model_config_list {\n"
        "  config {\n"
        f"    name: {_quote(name)}\n"
        f"    base_path: {_quote(str(base_path))}\n"
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {numbers} }} }}\n"
        "  }\n"
        "}\n"
    )


def _quote(text: str) -> str:
    # Text-format strings escape as C does: JSON's escapes are a part of those, once everything is ASCII.
    return json.dumps(text.encode("utf-8").decode("latin-1")).replace("\\u00", "\\x")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by one rename, so that a reader sees the old text or the new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
