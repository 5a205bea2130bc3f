"""What can be wrong with a table, each with its one sentence."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from keras_operator.api import Table, TargetKind

from model_trainer import machine
from model_trainer.failure import BadData, OneClass, RunFailure
from model_trainer.tables import reading
from model_trainer.tables.lines import LONGEST_LINE

GOOD = "age,town,home\n30,Ulm,yes\n40,Bonn,no\n50,Ulm,yes\n60,Bonn,no\n"
HOME = Table(target="home")
# {0} stands for the file's address.
BAD: dict[str, tuple[bytes | str, Table, str]] = {
    "an empty file": (
        "",
        HOME,
        "{0} is empty. A table needs a header line with the columns' names, and rows below it.",
    ),
    "blank lines alone": (
        "\n\n  \n",
        HOME,
        "{0} is empty. A table needs a header line with the columns' names, and rows below it.",
    ),
    "a header alone": (
        "age,town,home\n",
        HOME,
        "{0} has a header line and nothing below it. Each row is an example to learn from.",
    ),
    "the target is missing": (
        GOOD,
        Table(target="hom"),
        (
            "The header in line 1 of {0} has no column 'hom'; its columns are 'age', 'town', 'home'; the nearest is "
            "'home'. Correct spec.training.data.table.target."
        ),
    ),
    "a numeric feature is missing": (
        GOOD,
        Table(target="home", numeric=("wealth",)),
        (
            "The header in line 1 of {0} has no column 'wealth'; its columns are 'age', 'town', 'home'. Correct "
            "spec.training.data.table.numeric."
        ),
    ),
    "a categorical feature is missing": (
        GOOD,
        Table(target="home", categorical=("Town",)),
        (
            "The header in line 1 of {0} has no column 'Town'; its columns are 'age', 'town', 'home'; the nearest is "
            "'town'. Correct spec.training.data.table.categorical."
        ),
    ),
    "an ignored column is missing": (
        GOOD,
        Table(target="home", ignored=("id",)),
        (
            "The header in line 1 of {0} has no column 'id'; its columns are 'age', 'town', 'home'. Correct "
            "spec.training.data.table.ignored."
        ),
    ),
    "no feature is left": (
        GOOD,
        Table(target="home", ignored=("age", "town")),
        (
            "The header in line 1 of {0} has no column to learn from beside the target 'home'. Add one, or take one "
            "out of spec.training.data.table.ignored."
        ),
    ),
    "text in a numeric column": (
        GOOD + "old,Ulm,yes\n",
        Table(target="home", numeric=("age",)),
        (
            "Line 6 of {0} has 'old' in the numeric column 'age'. Write a number there, remove the line, or name the "
            "column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "NaN in a numeric column": (
        GOOD + "NaN,Ulm,yes\n",
        Table(target="home", numeric=("age",)),
        (
            "Line 6 of {0} has 'NaN' in the numeric column 'age'. Write a number there, remove the line, or name the "
            "column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "nothing in a numeric column": (
        GOOD + ",Ulm,yes\n",
        Table(target="home", numeric=("age",)),
        (
            "Line 6 of {0} has nothing in the numeric column 'age'. Write a number there, remove the line, or name the "
            "column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "a number that no float32 holds": (
        GOOD + "1e39,Ulm,yes\n",
        Table(target="home", numeric=("age",)),
        (
            "Line 6 of {0} has '1e39' in the numeric column 'age'. Write a number there, remove the line, or name the "
            "column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "one word among numbers": (
        GOOD + "?,Ulm,yes\n" + "".join(f"{age},Ulm,yes\n" for age in range(20, 40)),
        HOME,
        (
            "Line 6 of {0} has '?' in the column 'age', where nearly all other cells are numbers. Write a number "
            "there, remove the line, or name the column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "gaps among numbers": (
        GOOD + ",Ulm,yes\n,Bonn,yes\n",
        HOME,
        (
            "Line 6 of {0} has nothing in the column 'age', where nearly all other cells are numbers. Write a number "
            "there, remove the line, or name the column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "a word after ten thousand different numbers": (
        "age,home\n" + "".join(f"{age},{'yes' if age % 2 else 'no'}\n" for age in range(10_001)) + "?,yes\n",
        HOME,
        (
            "Line 10003 of {0} has '?' in the column 'age', where nearly all other cells are numbers. Write a number "
            "there, remove the line, or name the column in spec.training.data.table.categorical or ignored."
        ),
    ),
    "too many words": (
        "name,home\n" + "".join(f"n{name},{'yes' if name % 2 else 'no'}\n" for name in range(10_001)),
        HOME,
        (
            "The column 'name' has more than 10,000 different words, the last one in line 10002 of {0}, too many to "
            "learn from. Name it in spec.training.data.table.text if it holds texts, else in ignored."
        ),
    ),
    "nothing in the target": (
        GOOD + "30,Ulm,\n",
        HOME,
        "Line 6 of {0} has nothing in the target 'home'. Fill it in, or remove it.",
    ),
    "one class": (
        "age,home\n1,yes\n2,yes\n3,yes\n",
        HOME,
        (
            "All 3 rows have 'yes' in the target 'home'; a classifier needs at least two classes. Add rows of another "
            "class, or correct spec.training.data.table.target."
        ),
    ),
    "too few rows": (
        "age,home\n1,yes\n2,no\n2,no\n",
        HOME,
        (
            "{0} has 2 different rows, too few for a train, a validation and a test part. Add rows: each class needs "
            "one, and two more are needed in all."
        ),
    ),
    "a row that is too short": (
        GOOD + "30,Ulm\n",
        HOME,
        (
            "Line 6 of {0} has 2 cells, and the header line has 3. Correct the line; a cell with a comma in it is "
            "written in double quotes."
        ),
    ),
    "a row that is too long": (
        GOOD + "30,Frankfurt, Oder,yes\n",
        HOME,
        (
            "Line 6 of {0} has 4 cells, and the header line has 3. Correct the line; a cell with a comma in it is "
            "written in double quotes."
        ),
    ),
    "a quote that does not end": (
        GOOD + '30,"Ulm,yes\n',
        HOME,
        "Line 6 of {0} is no CSV: unexpected end of data. Save it as CSV again.",
    ),
    "not UTF-8": (
        GOOD.encode() + "30,Köln,yes\n".encode("latin-1"),
        HOME,
        "Line 6 of {0} is not UTF-8. Save it as CSV in UTF-8.",
    ),
    "UTF-16": (
        GOOD.encode("utf-16-le"),
        HOME,
        "Line 1 of {0} has a zero byte, so it is no text. Save it as CSV in UTF-8.",
    ),
    "a spreadsheet": (
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00xl/workbook.xml",
        HOME,
        "Line 1 of {0} has a zero byte, so it is no text. Save it as CSV in UTF-8.",
    ),
    "a line that does not end": (
        b"age,home\n" + b"1" * (LONGEST_LINE + 1),
        HOME,
        (
            "Line 2 of {0} has more than 1,048,576 bytes. Is it a table, and its lines are ended by line feeds? Save "
            "it as CSV again."
        ),
    ),
    "a cell as large as a book": (
        "age,home\n1," + "y" * 200_000 + "\n",
        HOME,
        (
            "Line 2 of {0} has a cell of more than 131,072 letters. Shorten it, or end the double quotes that it "
            "begins with."
        ),
    ),
    "semicolons": (
        GOOD.replace(",", ";"),
        HOME,
        "The header in line 1 of {0} has one column, 'age;town;home'. Save the table with commas between the columns.",
    ),
    "a column without a name": (
        ",age,home\n1,30,yes\n",
        HOME,
        "The header in line 1 of {0} has no name for column 1. Give it one, or remove the column.",
    ),
    "two columns of one name": (
        "age,age,home\n1,30,yes\n",
        HOME,
        "The header in line 1 of {0} names two columns 'age'. Give one of them another name.",
    ),
}


HEIGHTS = "age,town,height\n30,Ulm,1.7\n40,Bonn,1.8\n50,Ulm,1.6\n60,Bonn,1.9\n"
HEIGHT = Table(target="height", target_kind=TargetKind.NUMERIC)


def not_a_number(text: str) -> str:
    return (
        f"Line 6 of {{0}} has {text!r} in the target 'height', which is numeric. Write a number there, or remove the "
        "line; to learn classes, remove spec.training.data.table.targetKind."
    )


BAD |= {
    f"{text} in a target that is a number": (f"{HEIGHTS}30,Ulm,{text}\n", HEIGHT, not_a_number(text))
    for text in ("tall", "NaN", "-inf", "1e39", "1_000")
}
BAD |= {
    "nothing in a target that is a number": (
        f"{HEIGHTS}30,Ulm,\n",
        HEIGHT,
        "Line 6 of {0} has nothing in the target 'height'. Fill it in, or remove it.",
    ),
    "a number that is always the same": (
        "age,height\n" + "".join(f"{age},1.70\n" for age in range(40)),
        HEIGHT,
        (
            "All 40 rows have 1.7 in the target 'height', so there is nothing to learn. Add rows with other numbers, "
            "or correct spec.training.data.table.target."
        ),
    ),
    "too few rows of a number": (
        "age,height\n1,1.7\n2,1.8\n2,1.9\n",
        HEIGHT,
        (
            "{0} has 2 different rows, too few for a train, a validation and a test part. Add rows: at least three are "
            "needed."
        ),
    ),
    "too many classes": (
        "age,height\n" + "".join(f"{row},{row}\n" for row in range(100_000)),
        Table(target="height"),
        (
            "The target 'height' has 100,000 different values, and 10,000 classes are the most. Correct "
            "spec.training.data.table.target, or write targetKind: numeric to learn a number."
        ),
    ),
}


REVIEWS = "age,review,home\n30,Fine,yes\n40,Bad,no\n50,Fine,yes\n60,Dull,no\n70,Long,yes\n"
BAD |= {
    "a text column is missing": (
        GOOD,
        Table(target="home", text=("towns",)),
        (
            "The header in line 1 of {0} has no column 'towns'; its columns are 'age', 'town', 'home'; the nearest is "
            "'town'. Correct spec.training.data.table.text."
        ),
    ),
    "a text column without a text": (
        "age,review,home\n" + "".join(f"{age},,{'yes' if age % 2 else 'no'}\n" for age in range(40)),
        Table(target="home", text=("review",)),
        (
            "No row that is learned from has a word in the text column 'review'; blanks and punctuation are none, and "
            "neither is what has more than 100 bytes. Fill it in, or name it in spec.training.data.table.ignored."
        ),
    ),
    "a text of another encoding": (
        REVIEWS.encode() + "30,schön,yes\n".encode("latin-1"),
        Table(target="home", text=("review",)),
        "Line 7 of {0} is not UTF-8. Save it as CSV in UTF-8.",
    ),
    "a text that is too long": (
        f"{REVIEWS}30,{'schön ' * 20_000},yes\n",
        Table(target="home", text=("review",)),
        (
            "Line 7 of {0} has a text of 139,999 bytes in the text column 'review', and 131,072 are the most. Shorten "
            "it; only its first spec.training.data.table.sequenceLength words are read."
        ),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_table_is_said_with_file_and_line(name: str, tmp_path: Path, read: Any):
    content, table, sentence = BAD[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunFailure) as caught:
        read(path, table)
    assert str(caught.value) == sentence.replace("{0}", path.as_uri())
    assert type(caught.value) is (OneClass if name == "one class" else BadData)


def test_a_table_that_is_not_there(tmp_path: Path, read: Any):
    (tmp_path / "data").mkdir()
    uri = (tmp_path / "data").as_uri()
    with pytest.raises(BadData, match=r"There is no .*/data/table\.csv\. Put the table there, or correct spec"):
        read(tmp_path / "data" / "table.csv", HOME)
    (tmp_path / "data" / "notes.txt").write_text("no table")
    (tmp_path / "data" / ".hidden.csv").write_text(GOOD)
    with pytest.raises(BadData) as caught:
        read(tmp_path / "data", HOME)
    assert str(caught.value) == (
        f"There is no table under {uri}: 2 other files, such as '.hidden.csv'. Put .csv or .csv.gz files there, or "
        "correct spec.training.data.uri."
    )


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(GOOD.encode() * 100)[:-20]], ids=["none", "truncated"])
def test_a_damaged_gzip_file(content: bytes, tmp_path: Path, read: Any):
    (tmp_path / "table.csv.gz").write_bytes(content)
    with pytest.raises(BadData, match=r"table\.csv\.gz is damaged or no gzip file \(.*\)\. Upload it again\."):
        read(tmp_path / "table.csv.gz", HOME)


def test_a_second_file_with_other_columns(tmp_path: Path, read: Any):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text(GOOD)
    (tmp_path / "data" / "b.csv").write_text("age,home\n1,yes\n")
    with pytest.raises(BadData, match=r"line 1 of .*/b\.csv lacks 'town', unlike the header in line 1 of .*/a\.csv\."):
        read(tmp_path / "data", HOME)
    (tmp_path / "data" / "b.csv").write_text("home,town,wage,age\nyes,Ulm,7,1\n")
    with pytest.raises(BadData, match=r"b\.csv has 'wage' too, unlike .* All files need the same columns\."):
        read(tmp_path / "data", HOME)


def test_a_class_that_only_the_test_part_has(tmp_path: Path, read: Any):
    (tmp_path / "table.csv").write_text(GOOD)
    (tmp_path / "test.csv").write_text("age,town,home\n30,Ulm,perhaps\n")
    with pytest.raises(BadData, match=r"^test\.csv:2 has the class 'perhaps' in the target 'home', which no row under"):
        read(tmp_path / "table.csv", HOME, test_uri=(tmp_path / "test.csv").as_uri())


def test_a_number_that_is_always_the_same_where_it_is_learned_from(tmp_path: Path, read: Any):
    (tmp_path / "table.csv").write_text("age,height\n" + "".join(f"{age},1.7\n" for age in range(40)))
    (tmp_path / "test.csv").write_text("age,height\n99,1.9\n98,1.5\n")
    with pytest.raises(
        BadData, match=r"^All \d+ rows that are learned from have 1\.7 in the target 'height', so there"
    ):
        read(tmp_path / "table.csv", HEIGHT, test_uri=(tmp_path / "test.csv").as_uri())


def test_a_user_s_mistake_is_not_tried_again(tmp_path: Path, stage: Any, table_spec: Any):
    (tmp_path / "table.csv").write_text("age,town,home\n")
    ended = stage("train", table_spec(tmp_path / "table.csv", tmp_path / "store", HOME))
    assert (ended.code, ended.reason) == (65, "BadData")
    assert ended.sentence.endswith("has a header line and nothing below it. Each row is an example to learn from.")
    assert not (tmp_path / "store" / ".runs" / "1" / "model.keras").exists()


def test_a_table_that_does_not_fit_into_memory(
    tmp_path: Path, read: Any, write_table: Any, of_people: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 20_000_000)
    path = write_table(tmp_path / "people.csv", of_people(10_001))
    with pytest.raises(BadData, match=r"^The table does not fit into memory: its first 10,000 rows take half of it\."):
        read(path, Table(target="at home"))


def test_texts_that_do_not_fit_into_memory(
    tmp_path: Path, read: Any, write_table: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "memory_bytes", lambda: 5_000_000)
    monkeypatch.setattr(reading, "_TEXT_BETWEEN_LOOKS", 1_000_000)
    path = write_table(tmp_path / "books.csv", [["book", "home"], *(["word " * 20_000, "yes"] for _ in range(12))])
    with pytest.raises(BadData, match=r"^The table does not fit into memory: its first 11 rows take half of it\."):
        read(path, Table(target="home", text=("book",)))
