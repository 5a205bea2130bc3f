"""From facts to HTML."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from model_trainer.report.facts import Facts


def page_of(facts: Facts) -> str:
    """The page: one file without scripts, links or anything that is fetched, whoever named the classes and files."""
    return _template().render(facts=facts)


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
