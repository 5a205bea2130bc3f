"""The page at `/`, on which a person drops a picture and sees what a model says."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterable

from model_server.http_server import Response

# All that the page needs is in it; what a class is called can do nothing.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = (("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"))


@functools.cache
def _template() -> str:
    return importlib.resources.files("model_server.runtime").joinpath("page.html").read_text(encoding="utf-8")


def page(models: Iterable[str]) -> Response:
    """The page for these models, all of which take pictures."""
    # Within a script element only `<` could end it.
    names = json.dumps(sorted(models)).replace("<", "\\u003c")
    return Response(200, _template().replace("MODELS", names, 1).encode(), "text/html; charset=utf-8", _HEADERS)
