"""The programs of docs/own-image.md: what the page shows is what is tried."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own-image.md"


def program() -> str:
    """The source in Python of the one for images."""
    return _program(1)


def program_of_a_table() -> str:
    """The same of the one for a table."""
    return _program(2)


def _program(place: int) -> str:
    return PAGE.read_text().split("```python\n")[place].partition("```")[0]
