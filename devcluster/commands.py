"""Run a program for a step and say what failed."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from devcluster.errors import CommandFailedError

SHOWN_LINES = 15


def run(
    command: Sequence[str | Path],
    *,
    text_in: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    shown: int = SHOWN_LINES,
) -> str:
    """Run to the end and return its standard output; an error shows the last `shown` lines of all output.

    Raises:
        CommandFailedError: it ended with another status than 0, or is not installed.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=text_in, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommandFailedError(f"`{words[0]}` is not installed, it is needed for `{' '.join(words)}`") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-shown:])
        raise CommandFailedError(f"`{' '.join(words)}` ended with status {done.returncode}:\n{said}")
    return done.stdout


def run_visibly(
    command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run to the end with its output on this terminal.

    Raises:
        CommandFailedError: it ended with another status than 0, or is not installed.
    """
    words = [str(word) for word in command]
    try:
        status = subprocess.run(words, env=env, cwd=cwd, check=False).returncode
    except FileNotFoundError as error:
        raise CommandFailedError(f"`{words[0]}` is not installed, it is needed for `{' '.join(words)}`") from error
    if status != 0:
        raise CommandFailedError(f"`{' '.join(words)}` ended with status {status}; its output is above")
