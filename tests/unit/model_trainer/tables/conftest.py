"""Tables as people have them: scikit-learn's irises, and one with words."""

import csv
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    Data,
    DataFormat,
    EarlyStopping,
    Monitor,
    Optimizer,
    RunSpec,
    Store,
    Table,
    TargetKind,
    Training,
)
from sklearn.datasets import load_diabetes, load_iris

from model_trainer.tables.reading import read_table
from tests.unit.model_trainer.conftest import Trained, free_port, run_stage


def spec_of(uri: Path | str, store: Path | str, table: Table, /, **training: Any) -> RunSpec:
    of_data = training.pop("data", {})
    network = training.pop("network", {"hidden_units": (16,)})
    endpoint = training.pop("endpoint", None)
    return RunSpec(
        model_name="table",
        model="people/table",
        number=training.pop("number", 1),
        owner="uid-1",
        store=Store(uri=store.as_uri() if isinstance(store, Path) else store, endpoint=endpoint),
        serving=training.pop("serving", None),
        training=Training(
            data=Data(
                uri=uri.as_uri() if isinstance(uri, Path) else uri, format=DataFormat.CSV, table=table, **of_data
            ),
            architecture=Architecture(name=ArchitectureName.MLP, **network),
            **{"epochs": 2, "batch_size": 16, **training},
        ),
    )


@pytest.fixture(scope="session")
def table_spec() -> Callable[..., RunSpec]:
    """A RunSpec: (file or folder, store, Table(…), data={…}, network={…}, epochs=, …)."""
    return spec_of


def write(path: Path, rows: list[list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Path]:
    """Write a CSV file: (path, rows with the header first)."""
    return write


def people(count: int, seed: int = 0) -> list[list[Any]]:
    """Who is at home where: by town, unless the age is above 60; with a number that says nothing."""
    random = np.random.default_rng(seed)
    rows: list[list[Any]] = [["number", "age", "town", "shoe size (EU)", "at home"]]
    for number in range(count):
        town = str(random.choice(["Köln", "Bonn", "Ulm", "Bern, BE"]))
        age = int(random.integers(18, 90))
        home = "nowhere" if age > 60 else {"Köln": "Rhine", "Bonn": "Rhine", "Ulm": "Danube", "Bern, BE": "Aare"}[town]
        rows.append([number, age, town, round(float(random.normal(42, 3)), 1), home])
    return rows


@pytest.fixture(scope="session")
def of_people() -> Callable[..., list[list[Any]]]:
    """Rows of a table with numbers and words: (how many, seed)."""
    return people


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = load_iris()
    rows = [[*map(str, row), data.target_names[label]] for row, label in zip(data.data, data.target, strict=True)]
    return write(tmp_path_factory.mktemp("iris") / "iris.csv", [[*data.feature_names, "species"], *rows])


PROGRESSION = Table(target="progression", target_kind=TargetKind.NUMERIC, categorical=("sex",))


@pytest.fixture(scope="session")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """442 people, ten things that were measured of each, and how their illness was a year later: 25 to 346."""
    data = load_diabetes(scaled=False)
    rows = [[*map(float, row), float(target)] for row, target in zip(data.data, data.target, strict=True)]
    return write(tmp_path_factory.mktemp("diabetes") / "diabetes.csv", [[*data.feature_names, "progression"], *rows])


@pytest.fixture
def read(context: Any) -> Callable[..., Any]:
    """Read a table in this process: (file or folder, Table(…), more fields of data)."""

    def read(path: Path, table: Table, **data: Any) -> Any:
        of_data = Data(uri=path.as_uri(), format=DataFormat.CSV, table=table, **data)
        return read_table(of_data, None, context)

    return read


PEOPLE = Table(target="at home", ignored=("number",))


@pytest.fixture(scope="session")
def trained_people(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An MLP on 600 people, and its export; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("people")
    data = write(folder / "people.csv", people(600))
    run = spec_of(
        data,
        folder / "store",
        PEOPLE,
        epochs=20,
        optimizer=Optimizer(learning_rate=0.01),
        network={"hidden_units": (32,), "dropout": 0.1},
    )
    trained = Trained(folder / "store", run, run_stage("train", run, folder))
    assert trained.ended.code == 0, trained.ended.message
    return trained


@pytest.fixture(scope="session")
def exported_people(trained_people: Trained, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run_stage("export", trained_people.spec, tmp_path_factory.mktemp("exported-people"))


@pytest.fixture(scope="session")
def trained_diabetes(diabetes: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An MLP that learned how the illness goes on; costs some seconds, once."""
    folder = tmp_path_factory.mktemp("progression")
    run = spec_of(
        diabetes,
        folder / "store",
        PROGRESSION,
        epochs=30,
        optimizer=Optimizer(learning_rate=0.01),
        early_stopping=EarlyStopping(monitor=Monitor.VAL_MAE, patience=5),
    )
    trained = Trained(folder / "store", run, run_stage("train", run, folder))
    assert trained.ended.code == 0, trained.ended.message
    return trained


@pytest.fixture(scope="session")
def exported_diabetes(trained_diabetes: Trained, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run_stage("export", trained_diabetes.spec, tmp_path_factory.mktemp("exported-progression"))


Ask = Callable[[str, Any], tuple[int, Any]]


@pytest.fixture(scope="session")
def served_people(
    trained_people: Trained, exported_people: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """The runtime with that servable: (verb, JSON) -> (status, JSON)."""
    assert exported_people.code == 0, exported_people.message
    with serving(trained_people.store, tmp_path_factory.mktemp("server") / "log") as ask:
        yield ask


@pytest.fixture(scope="session")
def served_diabetes(
    trained_diabetes: Trained, exported_diabetes: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """The same of the number."""
    assert exported_diabetes.code == 0, exported_diabetes.message
    with serving(trained_diabetes.store, tmp_path_factory.mktemp("number-server") / "log") as ask:
        yield ask


@contextmanager
def serving(store: Path, log: Path) -> Iterator[Ask]:
    port = free_port()
    command = [str(Path(sys.executable).parent / "tensorflow_model_server"), f"--port={free_port()}"]
    command += [f"--rest_api_port={port}", "--model_name=table", f"--model_base_path={store}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ)

    def ask(verb: str, body: Any) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{port}/v1/models/table{verb}"
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def available() -> bool:
        try:
            status, answer = ask("", None)
        except urllib.error.URLError:
            return False
        return status == 200 and answer["model_version_status"][0]["state"] == "AVAILABLE"

    until = time.monotonic() + 60
    while not available():
        if process.poll() is not None or time.monotonic() > until:
            pytest.fail(f"the runtime does not serve the table: {log.read_text()}")
        time.sleep(0.05)
    try:
        yield ask
    finally:
        process.kill()
        process.wait()
