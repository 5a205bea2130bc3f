"""The client libraries of Triton and of KServe, as PyPI has them, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.serving.installed import environment_of

_LIBRARIES = Path(__file__).with_name("client_libraries")
_SECONDS = 120


def _said(library: str, server: Any, digits: Any, folder: Path) -> Any:
    """What the library's program prints of `server`, in whose model `digits` version 2 is the newest."""
    np.save(folder / "images.npy", digits[2]["image"])
    python = environment_of(_LIBRARIES / "pins" / f"{library}.txt") / "python"
    program = _LIBRARIES / f"{library}_client.py"
    addresses = [f"127.0.0.1:{server.port}", f"127.0.0.1:{server.grpc_port}"]
    command = [str(python), str(program), *addresses, str(folder / "images.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_tritons_library_is_answered(server, digits, tmp_path):
    said = _said("triton", server, digits, tmp_path)
    assert set(said["answers"]) == {"http json", "http binary", "http binary in", "grpc"}
    for answer in said["answers"].values():
        np.testing.assert_allclose(answer["scores"], digits[2]["scores"], rtol=1e-5)
        np.testing.assert_allclose(answer["old"], digits[1]["scores"], rtol=1e-5)
        assert [bytes.fromhex(one) for one in answer["text"]] == ["naïve".encode(), b"\0"]
        assert "Sent extra: {x}. Missing but required: {image}" in answer["refused"]
        assert [answer[name] for name in ("live", "ready", "model", "none")] == [True, True, True, False]
    assert said["described"] == {
        "server": "keras-operator",
        "http": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8, 1]}],
    }


@pytest.mark.timeout(900)
def test_kserves_library_is_answered(server, digits, tmp_path):
    said = _said("kserve", server, digits, tmp_path)
    assert set(said["answers"]) == {"rest json", "rest binary", "grpc"}
    for scores in said["answers"].values():
        np.testing.assert_allclose(scores, digits[2]["scores"], rtol=1e-5)
    assert said["ready"] == [True] * 6
