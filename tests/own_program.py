"""The program of docs/own-image.md: what the page shows is what is tried."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own-image.md"


def program() -> str:
    """Its source in Python."""
    return PAGE.read_text().partition("```python\n")[2].partition("```")[0]
