"""kubectl, as people run it, in one namespace of the dev cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any


class Kubectl:
    """Runs kubectl.

    Args:
        environment: what `devcluster env` exports.
        namespace: where commands act.
    """

    def __init__(self, environment: dict[str, str], namespace: str) -> None:
        self._program = Path(environment["DEVCLUSTER_BIN"]) / "kubectl"
        self._environment = os.environ | environment
        self._namespace = namespace

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does."""
        return subprocess.Popen(self._command(words), env=self._environment, stdout=subprocess.PIPE, text=True)

    def run(self, *words: str, document: Any = None, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        """A command and its result; `document` is what `-f -` reads. Fails with what kubectl said."""
        text = None if document is None else json.dumps(document)
        done = subprocess.run(
            self._command(words),
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert may_fail or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def row(self, resource: str, *options: str) -> dict[str, str]:
        """The first row of `kubectl get`, by column; columns are told apart by where their titles stand."""
        title, row, *_ = self.run("get", resource, *options).stdout.splitlines()
        starts = [at for at, letter in enumerate(title) if letter != " " and (at == 0 or title[at - 2 : at] == "  ")]
        ends = [*starts[1:], max(len(title), len(row))]
        return {title[start:end].strip(): row[start:end].strip() for start, end in zip(starts, ends, strict=True)}

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [str(self._program), "-n", self._namespace, *words]
