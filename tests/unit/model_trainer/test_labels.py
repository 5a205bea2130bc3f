"""Classes from a table beside the images, and the sentence for each way in which the two may not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keras_operator.api import Labels

from model_store import Entry, open_store
from model_trainer.data.labels import in_labels
from model_trainer.data.listing import BadFile, Found, in_classes
from model_trainer.failure import BadData, NoImages, OneClass, RunFailure

DOGS = Labels(file_column="id", class_column="breed")


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., Found]:
    def look(table: str | bytes | None, *images: str, labels: Labels = DOGS) -> Found:
        for image in images:
            (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / image).write_bytes(b"x")
        if table is not None:
            (tmp_path / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        store = open_store(tmp_path.as_uri())
        return in_labels(store, store.list(), labels)

    return look


KAGGLE = ("train/000bec.jpg", "train/001513.jpg", "train/001cdf.jpg", "test/000621.jpg", "sample_submission.csv")


def test_the_layout_of_the_dog_breed_competition(found: Callable[..., Found]):
    dogs = found("id,breed\n000bec,boston_bull\n001513,dingo\n001cdf,pekinese\n", *KAGGLE)
    assert [(key, name) for key, name, _ in dogs.images] == [
        ("train/000bec.jpg", "boston_bull"),
        ("train/001513.jpg", "dingo"),
        ("train/001cdf.jpg", "pekinese"),
    ]
    assert dogs.bad == ()
    assert dogs.ignored == {"images without a label": 1, ".csv": 1}
    assert in_classes(dogs).classes == ("boston_bull", "dingo", "pekinese")


@pytest.mark.parametrize("name", ["a/1.png", "./a/1.png", "a/1", "1.png", "1"])
def test_an_image_may_be_named_by_path_or_name_with_or_without_extension(found: Callable[..., Found], name: str):
    images = found(f"breed,id\ncat,{name}\ndog,2\n", "a/1.png", "2.png").images
    assert ("a/1.png", "cat", 1) in images


def test_a_path_counts_before_a_bare_name(found: Callable[..., Found]):
    images = found("id,breed\n1.png,cat\na/1.png,dog\n", "1.png", "a/1.png").images
    assert images == (("1.png", "cat", 1), ("a/1.png", "dog", 1))


def test_excel_writes_a_mark_before_the_header_and_quotes(found: Callable[..., Found]):
    table = b'\xef\xbb\xbf"id","breed"\r\n1,"Bull, small"\r\n\r\n2,Dingo\r\n'
    assert {name for _, name, _ in found(table, "1.png", "2.png").images} == {"Bull, small", "Dingo"}


def test_what_is_named_and_missing_and_what_is_there_and_not_named_are_bad_files(found: Callable[..., Found]):
    dogs = found("id,breed\n1,a\n2,b\n3,b\n", "t/1.png", "t/2.png", "t/4.png")
    assert dogs.bad == (
        BadFile("3", "named in line 4 of labels.csv, and not there"),
        BadFile("t/4.png", "not named in labels.csv"),
    )


@pytest.mark.parametrize(
    ("table", "failure", "told"),
    [
        (None, BadData, "/labels.csv, the table that says of which class each image is. Put it there"),
        ("", BadData, "labels.csv is empty. It needs a header line"),
        ("id,breed\n", BadData, "has a header line and nothing below it"),
        ("file,class\n1,a\n", BadData, "has no column 'id'; its columns are 'file', 'class'. Correct spec.training"),
        ("id,class\n1,a\n", BadData, "has no column 'breed'; its columns are 'id', 'class'."),
        ("id,breed\n1,a\n2\n", BadData, "Line 3 of "),
        ("id,breed\n1,a\n,b\n", BadData, "has nothing in the column 'id'"),
        ("id,breed\n1,a\n1,b\n", BadData, "gives t/1.png the class 'a' and, in line 3, 'b'. Keep one"),
        ("id,breed\n5,a\n", BadData, "names '5', which may be t/5.png or u/5.png. Write the path below"),
        ("id,breed\n7,a\n8,b\n", NoImages, "names 2 images, such as '7', and none of them is there; the images there"),
        ("id,breed\n1,a\n2,a\n", OneClass, "labels.csv gives one class, 'a', to all 2 images; a classifier needs"),
        ("id,breed\n1,a\n", OneClass, "labels.csv gives one class, 'a', to the one image; a classifier needs"),
        (b"id,breed\n1,\xff\n", BadData, "labels.csv is not UTF-8 (byte 11)"),
        ('id,breed\n"1,a\n', BadData, "is no CSV: unexpected end of data"),
    ],
    ids=[
        "missing", "empty", "header alone", "no file column", "no class column", "short line", "no file", "two classes",
        "two images", "no such images", "one class", "one image", "encoding", "quotes",
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_told_in_a_sentence(
    found: Callable[..., Found], table: Any, failure: type[RunFailure], told: str
):
    with pytest.raises(failure) as caught:
        in_classes(found(table, "t/1.png", "t/2.png", "t/5.png", "u/5.png"))
    assert told in str(caught.value)
    assert caught.value.exit_code == 65


def test_a_table_with_no_images_beside_it(found: Callable[..., Found]):
    with pytest.raises(NoImages, match="there are no images at all"):
        found("id,breed\n1,a\n")


def test_a_hundred_thousand_classes_are_refused(tmp_path: Path):
    """A column that numbers the images in the place of one that names their classes."""
    (tmp_path / "labels.csv").write_text("id,breed\n" + "".join(f"{image},{image}\n" for image in range(100_000)))
    entries = [Entry(f"train/{image}.png", 1) for image in range(100_000)]
    with pytest.raises(BadData) as caught:
        in_classes(in_labels(open_store(tmp_path.as_uri()), entries, DOGS))
    assert str(caught.value) == (
        f"{tmp_path.as_uri()}/labels.csv names 100,000 classes, and 10,000 are the most. Name another classColumn, or "
        "put classes together."
    )
