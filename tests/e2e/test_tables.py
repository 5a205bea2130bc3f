"""A table becomes a model that is asked with rows, and a mistake in one is said where people look."""

from __future__ import annotations

import csv
import io
import itertools
import json
import urllib.request
from typing import Any

import pytest
import yaml
from sklearn.datasets import load_diabetes, load_iris

from benchmarks.demo.kubectl import Kubectl
from tests.e2e.api_server import MODEL, VERSION, ApiServer
from tests.e2e.conftest import MakeNamespace
from tests.e2e.models import example, is_ready, is_stalled, merged, message, model_url
from tests.e2e.object_store import ObjectStore

KINDS = ["setosa", "versicolor", "virginica"]


@pytest.fixture(scope="module")
def irises(s3: ObjectStore) -> list[dict[str, Any]]:
    """Scikit-learn's irises, which are in the bucket as a table, and in it a table of a header line alone."""
    data = load_iris()
    rows = [dict(zip(data.feature_names, map(float, row), strict=True)) for row in data.data]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [*data.feature_names, "species"])
    writer.writeheader()
    writer.writerows({**row, "species": data.target_names[kind]} for row, kind in zip(rows, data.target, strict=True))
    s3.put("datasets", "irises.csv", table.getvalue().encode())
    s3.put("datasets", "no-irises.csv", table.getvalue().encode().partition(b"\n")[0])
    return [{**row, "species": str(data.target_names[kind])} for row, kind in zip(rows, data.target, strict=True)]


@pytest.fixture(scope="module")
def reviews(s3: ObjectStore) -> list[dict[str, Any]]:
    """What people wrote of what they bought, which is in the bucket as a table."""
    opinions = [("Arrived quickly and works", "yes"), ("Broken", "no"), ("a great gift", "yes"), ("Never again!", "no")]
    ends = ["", " The parcel was blue.", ' My neighbour says so too, "really".', "\nBought in Ulm, by tram."]
    rows = [
        {"review": f"{opinion}.{end}", "price": price, "liked": liked}
        for price, (end, (opinion, liked)) in enumerate(itertools.product(ends * 15, opinions))
    ]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["review", "price", "liked"])
    writer.writeheader()
    writer.writerows(rows)
    s3.put("datasets", "reviews.csv", table.getvalue().encode())
    return rows


@pytest.fixture(scope="module")
def learning(api: ApiServer, make_namespace: MakeNamespace, irises: Any, reviews: Any) -> dict[str, Any]:
    """Both at once, for they do not wait for each other."""
    assert irises
    assert reviews
    namespace = make_namespace("tables")
    documents = {name: example(f"{name}.yaml", namespace) for name in ("irises", "reviews")}
    for document in documents.values():
        api.apply(document)
    return documents


@pytest.fixture(scope="module")
def diabetes(s3: ObjectStore) -> tuple[list[dict[str, Any]], list[float]]:
    """Scikit-learn's people with diabetes, who are in the bucket as a table; each row's features and its number."""
    data = load_diabetes(scaled=False)
    rows: list[dict[str, Any]] = [dict(zip(data.feature_names, map(float, row), strict=True)) for row in data.data]
    for row in rows:
        row["sex"] = f"{row['sex']:.0f}"
    numbers = [float(number) for number in data.target]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, [*data.feature_names, "progression"])
    writer.writeheader()
    writer.writerows({**row, "progression": number} for row, number in zip(rows, numbers, strict=True))
    s3.put("datasets", "diabetes.csv", table.getvalue().encode())
    text = table.getvalue().splitlines()
    s3.put(
        "datasets", "no-number.csv", "\n".join([*text[:7], f"{text[7].rpartition(',')[0]},high", *text[8:]]).encode()
    )
    return rows, numbers


def post(url: str, body: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=60) as answer:
        return json.load(answer)


def test_a_table_is_learned_and_asked_with_rows(
    api: ApiServer, kubectl: Kubectl, learning: dict[str, Any], irises: list[dict[str, Any]]
) -> None:
    document = learning["irises"]
    namespace = document["metadata"]["namespace"]
    api.wait_for(MODEL, namespace, "irises", is_ready, "irises.yaml that serves")

    rows = [{name: cell for name, cell in row.items() if name != "species"} for row in irises]
    kinds = [row["species"] for row in irises]
    url = model_url(api, namespace, "irises")
    scores = post(f"{url}:predict", {"instances": rows})["predictions"]
    told = [KINDS[row.index(max(row))] for row in scores]
    assert sum(one == other for one, other in zip(told, kinds, strict=True)) >= 0.9 * len(kinds)
    named = post(f"{url}:classify", {"signature_name": "serving_classify", "examples": rows[:3]})["results"]
    assert [{label for label, _ in row} for row in named] == [set(KINDS)] * 3

    version = api.get(VERSION, namespace, "irises-1")
    assert version is not None
    status = version["status"]
    assert (status["classes"], sum(status["images"].values())) == (3, 150)
    assert "serving_default petal%20length%20(cm) float32 [-1]" in status["servable"]["inputs"]
    assert kubectl.run("diff", "-f", "-", text_in=yaml.safe_dump(document)) == "", "a GitOps tool would see a change"


def test_a_text_is_learned_and_asked_as_people_write_it(
    api: ApiServer, kubectl: Kubectl, learning: dict[str, Any], reviews: list[dict[str, Any]]
) -> None:
    document = learning["reviews"]
    namespace = document["metadata"]["namespace"]
    api.wait_for(MODEL, namespace, "reviews", is_ready, "reviews.yaml that serves")

    url = model_url(api, namespace, "reviews")
    rows = [{"review": row["review"], "price": row["price"]} for row in reviews]
    scores = post(f"{url}:predict", {"instances": rows})["predictions"]
    told = [["no", "yes"][row.index(max(row))] for row in scores]
    assert sum(one == row["liked"] for one, row in zip(told, reviews, strict=True)) >= 0.9 * len(reviews)
    others = [{"review": text, "price": 20.0} for text in ("NEVER bought such a broken thing", "", "日本")]
    named = post(f"{url}:classify", {"signature_name": "serving_classify", "examples": others})["results"]
    assert max(named[0], key=lambda one: one[1])[0] == "no"
    assert [sum(score for _, score in row) for row in named] == pytest.approx([1, 1, 1], abs=1e-4)

    version = api.get(VERSION, namespace, "reviews-1")
    assert version is not None
    assert "serving_default review string [-1]" in version["status"]["servable"]["inputs"]
    assert kubectl.run("diff", "-f", "-", text_in=yaml.safe_dump(document)) == "", "a GitOps tool would see a change"


def test_a_text_column_that_is_not_there_is_told_with_those_that_are(
    api: ApiServer, make_namespace: MakeNamespace, reviews: list[dict[str, Any]]
) -> None:
    assert reviews
    namespace = make_namespace("no-text")
    document = example("reviews.yaml", namespace)
    change = {"training": {"data": {"table": {"text": ["reviews"]}}}}
    api.apply({**document, "spec": merged(document["spec"], change)})
    stalled = api.wait_for(MODEL, namespace, "reviews", is_stalled, "a model that says what is wrong")
    assert (
        "The header in line 1 of s3://datasets/reviews.csv has no column 'reviews'; its columns are 'review', 'price', "
        "'liked'; the nearest is 'review'. Correct spec.training.data.table.text."
    ) in message(stalled)


def test_a_table_without_a_row_is_told_so(
    api: ApiServer, make_namespace: MakeNamespace, irises: list[dict[str, Any]]
) -> None:
    assert irises
    namespace = make_namespace("no-rows")
    document = example("irises.yaml", namespace)
    change = {"training": {"data": {"uri": "s3://datasets/no-irises.csv"}}}
    api.apply({**document, "spec": merged(document["spec"], change)})
    stalled = api.wait_for(MODEL, namespace, "irises", is_stalled, "a model that says what is wrong")
    assert "s3://datasets/no-irises.csv has a header line and nothing below it. Each row is an example" in message(
        stalled
    )


def test_a_number_is_learned_and_answered_in_its_own_unit(
    api: ApiServer,
    kubectl: Kubectl,
    make_namespace: MakeNamespace,
    diabetes: tuple[list[dict[str, Any]], list[float]],
) -> None:
    rows, numbers = diabetes
    namespace = make_namespace("numbers")
    document = example("diabetes.yaml", namespace)
    api.apply(document)
    api.wait_for(MODEL, namespace, "diabetes", is_ready, "diabetes.yaml that serves")

    url = model_url(api, namespace, "diabetes")
    answered = post(f"{url}:predict", {"instances": rows})["predictions"]
    mean = sum(numbers) / len(numbers)
    off = sum(abs(one - other) for one, other in zip(answered, numbers, strict=True))
    assert off < 0.85 * sum(abs(mean - number) for number in numbers), "better than always answering the mean"
    told = post(f"{url}:regress", {"signature_name": "serving_regress", "examples": rows[:3]})["results"]
    assert told == [pytest.approx(number, rel=1e-4) for number in answered[:3]]

    version = api.get(VERSION, namespace, "diabetes-1")
    assert version is not None
    status = version["status"]
    assert "classes" not in status
    assert {gate["metric"] for gate in status["gates"]} == {"mae", "r2"}
    assert {"mae_high", "rmse", "r2_low", "val_mae", "loss"} <= status["metrics"].keys()
    model = api.get(MODEL, namespace, "diabetes")
    assert model is not None
    assert "accuracy" not in model["status"]
    assert float(model["status"]["mae"]) == pytest.approx(float(status["metrics"]["mae"]), rel=1e-3)
    assert kubectl.run("diff", "-f", "-", text_in=yaml.safe_dump(document)) == "", "a GitOps tool would see a change"


def test_a_word_where_a_number_is_learned_is_told_with_its_line(
    api: ApiServer, make_namespace: MakeNamespace, diabetes: tuple[list[dict[str, Any]], list[float]]
) -> None:
    assert diabetes
    namespace = make_namespace("no-number")
    document = example("diabetes.yaml", namespace)
    change = {"training": {"data": {"uri": "s3://datasets/no-number.csv"}}}
    api.apply({**document, "spec": merged(document["spec"], change)})
    stalled = api.wait_for(MODEL, namespace, "diabetes", is_stalled, "a model that says what is wrong")
    assert (
        "Line 8 of s3://datasets/no-number.csv has 'high' in the target 'progression', which is numeric. Write a number"
    ) in message(stalled)
