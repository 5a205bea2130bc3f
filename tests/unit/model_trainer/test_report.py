"""The report of a version: one page that needs nothing else, whatever classes and files are called."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from keras_operator.api import Augmentation, Comparison, KerasModelSpec, decode_model
from PIL import Image

from model_trainer.data.dataset import Dataset
from model_trainer.evaluation.answers import Answers
from model_trainer.report.charts import line_chart, matrix
from model_trainer.report.facts import facts_of
from model_trainer.report.page import page_of
from model_trainer.report.pictures import data_uri
from tests.unit.model_trainer.reported import EACH, trained_on

# Elements without an end, https://html.spec.whatwg.org/multipage/syntax.html#void-elements, as far as they are used.
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, all properly nested, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(trained: Any) -> Page:
    return Page(page_of(facts_of(trained)))


@pytest.mark.parametrize("classes", [2, 5, 16, 17, 120])
def test_the_page_needs_nothing_else_and_runs_nothing(classes: int):
    found = page(trained_on(classes))
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert str(attributes.get("href", "#")).startswith("#"), tag
        assert str(attributes.get("src", "data:image/")).startswith("data:image/"), tag
    (style,) = re.findall(r"<style>(.*?)</style>", page_of(facts_of(trained_on(2))), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("classes", [2, 120])
def test_names_are_text_however_they_look(classes: int):
    trained = trained_on(classes)
    text = page(trained).text
    for name in (trained.dataset.classes[0], trained.dataset.classes[-1]):
        assert name in text


@pytest.mark.parametrize("classes", [2, 120])
def test_every_image_that_was_taken_for_another_class_is_in_the_matrix(classes: int):
    trained = trained_on(classes)
    cells = facts_of(trained).matrix.cells
    assert sum(cell.count for cell in cells) == classes * EACH // 3
    off_diagonal = sum(cell.count for cell in cells if cell.row != cell.column)
    assert isinstance(trained.answers, Answers)
    assert off_diagonal == int((~trained.answers.hits).sum()) > 0


def test_the_mistakes_are_the_surest_ones_with_their_pictures():
    trained = trained_on(12, shape=(20, 20, 1))
    mistakes = facts_of(trained).mistakes
    assert isinstance(trained.answers, Answers)
    wrong = np.flatnonzero(~trained.answers.hits)
    assert [each.confidence for each in mistakes] == sorted(trained.answers.confidence[wrong], reverse=True)[:18]
    surest = wrong[np.argmax(trained.answers.confidence[wrong])]
    index = trained.split.test[surest]
    assert mistakes[0].file == trained.dataset.examples[index].key
    assert mistakes[0].true == trained.dataset.classes[trained.answers.labels[surest]]
    picture = Image.open(io.BytesIO(base64.b64decode(mistakes[0].picture.partition(",")[2])))
    assert isinstance(trained.dataset, Dataset)
    assert np.array_equal(np.asarray(picture)[..., None], trained.dataset.pixels[index])


def test_a_model_without_a_mistake_is_told_so():
    assert "None: all 6 test images got their own class." in page(trained_on(2, right=2.0)).text


def test_the_contact_sheet_shows_images_and_what_augmentation_makes_of_them():
    trained = trained_on(3)
    assert isinstance(trained.dataset, Dataset)
    originals = {data_uri(trained.dataset.pixels[row]) for row in trained.dataset.rows(trained.split.train)}
    sheet = facts_of(trained).sheet
    assert [len(row) for row in sheet] == [8] * 4
    assert {row[0] for row in sheet} <= originals
    assert not {uri for row in sheet for uri in row[1:]} & originals


def test_images_that_are_not_augmented_are_shown_once():
    trained = trained_on(3)
    plain = msgspec.structs.replace(trained.training, augmentation=Augmentation())
    trained = dataclasses.replace(trained, training=plain)
    assert [len(row) for row in facts_of(trained).sheet] == [1] * 4
    assert "none were augmented" in page(trained).text


def test_what_serves_is_told_beside_it():
    metrics = {"accuracy": 0.625, "loss": 1.5}
    text = page(trained_on(3, comparison=Comparison(version=3, metrics=metrics))).text
    assert "Beside version 3, which served when training began" in text
    assert "0.625" in text
    text = page(trained_on(3, comparison=Comparison(version=3, problem="its classes are others: pug came"))).text
    assert "cannot be compared: its classes are others: pug came." in text


def test_the_document_trains_the_version_again():
    trained = trained_on(2)
    document = yaml.safe_load(facts_of(trained).document)
    spec = decode_model(document["spec"])
    assert isinstance(spec, KerasModelSpec)
    assert (spec.training, spec.store) == (trained.training, trained.spec.store)
    assert document["metadata"] == {"name": "dogs", "namespace": "vision"}


def test_a_page_of_120_classes_can_be_sent_by_mail():
    assert len(page_of(facts_of(trained_on(120, shape=(224, 224, 3))))) < 1_500_000


@pytest.mark.parametrize(
    ("size", "kind"), [((16, 16), "png"), ((48, 20), "png"), ((128, 64), "jpeg"), ((600, 300), "jpeg")]
)
def test_pictures_keep_their_proportions_and_are_small(size: tuple[int, int], kind: str):
    uri = data_uri(np.full((*size, 3), 77, dtype=np.uint8))
    head, _, data = uri.partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{kind};base64"
    factor = min(1, 128 / max(size))
    assert picture.size == (round(size[1] * factor), round(size[0] * factor))


@pytest.mark.parametrize(
    "values",
    [[0.5], [0.0, 0.0], [1.0, 1.0, 1.0], [1e-9, 2e-9], [-3.0, 1e6], [0.1, 0.9, 0.3]],
    ids=["one epoch", "nothing", "flat", "tiny", "wide", "usual"],
)
def test_curves_stay_within_their_axes(values: list[float]):
    chart = line_chart("loss", {"training": values})
    points = [tuple(map(float, point.split(","))) for point in chart.lines[0].points.split()]
    assert len(points) == len(values)
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in points)
    assert 2 <= len(chart.up) <= 8
    assert len({tick.label for tick in chart.up}) == len(chart.up)


def test_a_field_of_the_matrix_is_as_dark_as_its_part_of_the_row():
    cells = {(cell.row, cell.column): cell.darkness for cell in matrix("ab", [[3, 1], [0, 2]]).cells}
    assert cells == {(0, 0): 0.75, (0, 1): 0.25, (1, 1): 1.0}
