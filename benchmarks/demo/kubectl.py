"""kubectl, as a person would use it: every command that the demo runs can be typed again."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from benchmarks.demo.errors import DemoError
from devcluster.build import binary
from devcluster.places import here

SHOWN_LINES = 15


@dataclass(frozen=True)
class Kubectl:
    """The program and the kubeconfig that it uses."""

    program: str
    kubeconfig: str

    def run(self, *words: str, text_in: str | None = None) -> str:
        """Standard output of `kubectl WORDS`. Raises DemoError with what kubectl said."""
        command = self._command(*words)
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[-SHOWN_LINES:])
            raise DemoError(f"`kubectl {' '.join(words)}` ended with status {done.returncode}:\n{said}")
        return done.stdout

    def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get WORDS -o json` as an object."""
        answer: dict[str, Any] = json.loads(self.run("get", *words, "-o", "json"))
        return answer

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects. They go through standard input, so a Secret's values are in no process list."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.run("apply", "-f", "-", text_in=json.dumps(listed))

    @contextmanager
    def watching(self, *words: str) -> Iterator[IO[bytes]]:
        """The output of `kubectl get WORDS --watch -o json`, which goes on until the context ends."""
        command = self._command("get", *words, "--watch", "-o", "json")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            try:
                assert process.stdout is not None
                yield process.stdout
            finally:
                process.terminate()

    @contextmanager
    def forwarding(self, *words: str) -> Iterator[str]:
        """What `kubectl port-forward WORDS` listens on (`127.0.0.1:PORT`) until the context ends."""
        command = self._command("port-forward", "--address", "127.0.0.1", *words)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                # The third word of this line is the address, with the port that kubectl chose.
                first = process.stdout.readline()
                if "Forwarding from " not in first:
                    raise DemoError(f"`kubectl port-forward {' '.join(words)}` said: {first.strip()}")
                yield first.split()[2]
            finally:
                process.terminate()

    def _command(self, *words: str) -> list[str]:
        return [self.program, f"--kubeconfig={self.kubeconfig}", *words]


def find_kubectl(kubeconfig: str) -> Kubectl:
    """The dev cluster's own kubectl, of the server's version, else the one on the PATH."""
    built = binary(here(), "kubectl")
    program = str(built) if built.exists() else shutil.which("kubectl")
    if program is None:
        raise DemoError(f"There is no {built}, and no kubectl on the PATH: run `make cluster`, which builds it.")
    return Kubectl(program, kubeconfig)
