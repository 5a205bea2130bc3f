"""From facts to HTML."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from model_trainer.report.facts import Facts

log = logging.getLogger(__name__)


def page_of(facts: Facts) -> str:
    """The page: one file without scripts, links or anything that is fetched, whoever named the classes and files."""
    return _template().render(facts=facts)


def page_or_none(facts: Callable[[], Facts]) -> str | None:
    """The page; None where it cannot be made, which is no reason to lose what was trained for hours."""
    try:
        return page_of(facts())
    except Exception:
        log.exception("the report cannot be made; the version goes without it")
        return None


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("model_trainer.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = _size
    return environment.get_template("report.html.j2")


def _size(count: int) -> str:
    """Bytes for people: 1.2 MB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
