"""Ask a component whether it is ready."""

import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_SECONDS = 2.0
UNIX = "unix://"


def answers(url: str, root: Path = Path("/")) -> bool:
    """Whether an http(s) URL answers 200, or somebody listens on a `unix://` path below `root`."""
    if url.startswith(UNIX):
        return _listens(root / url.removeprefix(f"{UNIX}/"))
    # Only this machine's own components are asked, about their health; several sign their certificates themselves.
    context = ssl._create_unverified_context() if url.startswith("https:") else None  # noqa: S323
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        *([urllib.request.HTTPSHandler(context=context)] if context else []),
    )
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True
