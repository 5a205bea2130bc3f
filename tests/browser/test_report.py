"""The report in a real browser: every picture is drawn, nothing is fetched, and a phone need not scroll sideways."""

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from keras_operator.api import Comparison

from model_trainer.report.facts import facts_of
from model_trainer.report.page import page_of
from tests.unit.model_trainer.reported import trained_on, trained_on_numbers

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A page has no scripts of its own; this one, put at its end, tells what the browser made of it.
LOOK = """<script>addEventListener("load", () => { document.title = JSON.stringify({
  width: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
  pictures: document.images.length, drawn: [...document.images].filter(image => image.naturalWidth > 0).length,
  fetched: performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length,
  charts: [...document.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().height > 50).length,
  ink: getComputedStyle(document.body).color, paper: getComputedStyle(document.body).backgroundColor,
}) })</script>"""


OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--window-size=1200,900",
)


class Seen(msgspec.Struct):
    """What the browser made of a page."""

    width: int
    room: int
    pictures: int
    drawn: int
    fetched: int
    charts: int
    ink: str
    paper: str


def look_at(page: str, folder: Path, width: int) -> Seen:
    """Open the page in Chromium's headless mode, in a window of a profile of its own."""
    path = folder / "report.html"
    path.write_text(page.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    # A window cannot be narrower than 500 pixels; a frame can.
    frame = folder / "frame.html"
    frame.write_text(
        f'<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "addEventListener('load', () => { document.title = frames[0].document.title })</script>"
    )
    seen = subprocess.run(
        ["chromium", *OPTIONS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", frame.as_uri()],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (title,) = re.findall(r"<title>(.*?)</title>", seen.stdout)
    return msgspec.json.decode(title, type=Seen)


@pytest.mark.parametrize("width", [360, 1000], ids=["phone", "desk"])
@pytest.mark.parametrize("classes", [2, 12, 120])
def test_the_page_is_whole_and_fits(classes: int, width: int, tmp_path: Path):
    comparison = Comparison(version=3, metrics={"accuracy": 0.5, "loss": 1.0})
    facts = facts_of(trained_on(classes, comparison=comparison))
    seen = look_at(page_of(facts), tmp_path, width)
    assert seen.width <= seen.room
    assert seen.pictures == seen.drawn == sum(map(len, facts.sheet)) + len(facts.mistakes) + 1
    assert (seen.fetched, seen.charts) == (0, 4)
    assert (seen.ink, seen.paper) == ("rgb(27, 31, 36)", "rgb(255, 255, 255)")


@pytest.mark.parametrize("width", [360, 1000], ids=["phone", "desk"])
def test_the_page_of_a_number_is_whole_and_fits(width: int, tmp_path: Path):
    seen = look_at(page_of(facts_of(trained_on_numbers(600, scale=1e7))), tmp_path, width)
    assert seen.width <= seen.room
    # Three curves, the answers, their errors, and the target.
    assert (seen.pictures, seen.fetched, seen.charts) == (0, 0, 6)
