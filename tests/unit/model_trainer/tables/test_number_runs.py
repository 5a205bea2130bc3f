"""The main road of a number: train, export, publish, and ask the servable with rows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_operator.api import (
    Architecture,
    ArchitectureName,
    Loss,
    LossParameters,
    MetricName,
    MixedPrecision,
    Optimizer,
    OptimizerName,
    Table,
    TargetKind,
    TrainingMetric,
)
from keras_operator.api.losses import OF_NUMBERS
from sklearn.metrics import mean_absolute_error, r2_score
from tensorflow.core.protobuf import saved_model_pb2

from model_store import open_store, read_manifest
from model_trainer import warmup
from model_trainer.batching import batches_of
from model_trainer.compiling import compile_for
from model_trainer.datasets import read_dataset
from model_trainer.failure import BadData, ParityFailed
from model_trainer.losses import loss_of_each
from model_trainer.tables.card import table_card
from model_trainer.tables.columns import Column, Kind
from model_trainer.tables.encoding import Encoding
from model_trainer.tables.mlp import build_mlp
from model_trainer.tables.parity import check_numbers
from model_trainer.tables.samples import RowSamples
from model_trainer.tables.target import Target

NUMERIC = TargetKind.NUMERIC
ROW = {
    "age": 59.0,
    "sex": "2.0",
    "bmi": 32.1,
    "bp": 101.0,
    "s1": 157.0,
    "s2": 93.2,
    "s3": 38.0,
    "s4": 4.0,
    "s5": 4.8598,
}
ROW |= {"s6": 87.0}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def columns(run: Path) -> tuple[Column, ...]:
    return tuple(Column(each["name"], Kind(each["kind"])) for each in load(run / "metrics.json")["columns"])


def test_an_mlp_learns_how_an_illness_goes_on(trained_diabetes: Any):
    result = trained_diabetes.ended.result
    assert (result.ok, result.error, result.classes) == (True, None, None)
    # Always answering the mean is off by about 66; linear regression on all of the data explains 0.52 of its variance.
    assert result.metrics["r2"] >= 0.3
    assert 25 < result.metrics["mae"] < 60
    assert result.metrics["mae"] < result.metrics["mae_high"]
    assert result.metrics["r2_low"] < result.metrics["r2"]
    assert set(result.metrics) == {
        "mae", "mae_high", "rmse", "rmse_high", "r2", "r2_low", "loss", "val_mae", "val_rmse", "val_r2", "val_loss",
    }  # fmt: skip
    history = load(trained_diabetes.run / "history.json")
    assert set(history) == {"loss", "mae", "rmse", "val_loss", "val_mae", "val_rmse"}
    best = min(history["val_mae"])
    assert result.metrics["val_mae"] == pytest.approx(best, rel=1e-4), "the best epoch by val_mae is what was kept"


def test_the_loss_is_of_standard_deviations_and_errors_are_of_the_unit(trained_diabetes: Any):
    record = load(trained_diabetes.run / "metrics.json")
    metrics, deviation = record["metrics"], record["target"]["deviation"]
    assert record["target"]["name"] == "progression"
    assert 60 < deviation < 90
    assert metrics["loss"] == pytest.approx((metrics["rmse"] / deviation) ** 2, rel=1e-4)


def test_what_is_published_answers_a_number_a_row(trained_diabetes: Any, exported_diabetes: Any):
    assert exported_diabetes.code == 0, exported_diabetes.message
    assert 0 <= exported_diabetes.result.parity <= 1e-5
    assert exported_diabetes.result.servable.signatures == ("serving_default", "serving_regress")
    samples = RowSamples.load(trained_diabetes.run / "samples.npz", columns(trained_diabetes.run))
    assert 25 < samples.answers.mean() < 346
    for name in ("model.keras", "model.h5"):
        model = keras.models.load_model(trained_diabetes.run / name, compile=False)
        answers = model.predict_on_batch([tf.constant(cells) for cells in samples.cells])
        assert np.allclose(answers, samples.answers, atol=1e-3), name
    manifest = read_manifest(open_store(trained_diabetes.store.as_uri()), 1)
    assert manifest.classes == []
    assert manifest.signatures["serving_default"]["outputs"] == {"prediction": {"dtype": "float32", "shape": [-1]}}
    assert manifest.signatures["serving_regress"]["outputs"] == {"outputs": {"dtype": "float32", "shape": [-1]}}
    saved = saved_model_pb2.SavedModel.FromString((trained_diabetes.store / "1" / "saved_model.pb").read_bytes())
    methods = {name: one.method_name for name, one in saved.meta_graphs[0].signature_def.items()}
    assert methods["serving_regress"] == "tensorflow/serving/regress"
    assert not (trained_diabetes.store / "1" / "assets.extra" / "classes.json").exists()
    assert {name for name, _ in warmup.read_warmup(trained_diabetes.store / "1")} == {"serving_default"}


def test_rows_as_json_are_answered_in_the_target_s_unit(trained_diabetes: Any, served_diabetes: Any):
    status, answer = served_diabetes(":predict", {"instances": [ROW, {**ROW, "bmi": 22.0}]})
    assert status == 200, answer
    heavy, light = answer["predictions"]
    assert 25 < light < heavy < 346
    status, told = served_diabetes(":regress", {"signature_name": "serving_regress", "examples": [ROW]})
    assert status == 200, told
    assert told["results"] == [pytest.approx(heavy, rel=1e-5)]


def test_the_test_part_is_measured_as_scikit_learn_would(trained_diabetes: Any, exported_diabetes: Any, diabetes: Path):
    assert exported_diabetes.code == 0
    lines = diabetes.read_text().splitlines()
    held_out = [
        lines[int(row["key"].partition(":")[2]) - 1] for row in load(trained_diabetes.run / "split.json")["test"]
    ]
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in held_out]
    true = [float(row.pop("progression")) for row in rows]
    cells = {
        column.name: tf.constant([row[column.name] if column.kind is Kind.CATEGORICAL else float(row[column.name])
                                  for row in rows])
        for column in columns(trained_diabetes.run)
    }  # fmt: skip
    served = tf.saved_model.load(str(trained_diabetes.store / "1")).signatures["serving_default"]
    answered = served(**cells)["prediction"].numpy()
    metrics = trained_diabetes.ended.result.metrics
    assert metrics["mae"] == pytest.approx(mean_absolute_error(true, answered), rel=1e-4)
    assert metrics["r2"] == pytest.approx(r2_score(true, answered), rel=1e-3)


def test_the_card_and_the_report_show_numbers(trained_diabetes: Any, exported_diabetes: Any):
    assert exported_diabetes.code == 0
    papers = trained_diabetes.store / "1" / "assets.extra"
    card = load(papers / "data-card.json")
    assert (card["classes"], card["target"]["name"], card["rows"]) == ([], "progression", 442)
    assert (card["target"]["least"], card["target"]["greatest"]) == (25, 346)
    assert sum(each["train"] + each["validation"] + each["test"] for each in card["target"]["bins"]) == 442
    page = (papers / "report.html").read_text()
    assert f"{trained_diabetes.ended.result.metrics['r2']:.3f}" in page
    assert 'aria-label="true and answered numbers"' in page
    assert 'aria-label="histogram of the errors"' in page
    assert 'aria-label="histogram of the target"' in page
    text = page.partition("<body")[2].partition("How to train it again")[0]
    for word in ("confusion", "Calibration", "classes", "images", "accuracy", "<img"):
        assert word not in text, word


def test_another_number_is_another_data_set(trained_diabetes: Any, diabetes: Path, tmp_path: Path, read: Any):
    wanted = trained_diabetes.spec.training.data.table
    lines = diabetes.read_text().splitlines()
    first, _, _ = lines[1].rpartition(",")
    (tmp_path / "diabetes.csv").write_text("\n".join([lines[0], f"{first},26.5", *lines[2:]]))
    hashes = {table_card(*read(path, wanted)).sha256 for path in (diabetes, tmp_path / "diabetes.csv")}
    assert len(hashes) == 2
    assert load(trained_diabetes.run / "data-card.json")["sha256"] in hashes


def test_the_serving_version_is_measured_in_the_same_unit(
    trained_diabetes: Any, diabetes: Path, tmp_path: Path, stage: Any, table_spec: Any
):
    store = tmp_path / "store"
    shutil.copytree(trained_diabetes.store, store)
    wanted = trained_diabetes.spec.training.data.table
    new = stage(
        "train", table_spec(diabetes, store, wanted, number=2, serving=1, epochs=1, network={"hidden_units": ()})
    )
    assert new.code == 0, new.message
    served, metrics = new.result.comparison.metrics, new.result.metrics
    assert served["mae"] == pytest.approx(trained_diabetes.ended.result.metrics["mae"], rel=1e-4)
    assert served["mae"] < metrics["mae"]
    assert served["r2"] > metrics["r2"]
    other = Table(target="bp", target_kind=NUMERIC, ignored=("progression",))
    said = stage("train", table_spec(diabetes, store, other, number=3, serving=1, epochs=1)).result.comparison.problem
    assert said == "it learned the number 'progression', and this one learns the number 'bp'"


@pytest.mark.parametrize("loss", [Loss.MEAN_ABSOLUTE_ERROR, Loss.LOG_COSH])
def test_a_linear_model_learns_large_numbers_by_sgd_in_16_bits(
    loss: Loss, tmp_path: Path, stage: Any, table_spec: Any, write_table: Any
):
    """A price of 20 million at a learning rate that suits every unit."""
    random = np.random.default_rng(1)
    towns = {"Ulm": 0, "Bonn": 4_000_000, "Bern": 9_000_000}
    rows = []
    for _ in range(300):
        town, rooms = str(random.choice(list(towns))), int(random.integers(1, 9))
        rows.append([town, rooms, round(20_000_000 + towns[town] + rooms * 1_500_000 + random.normal(0, 300_000))])
    data = write_table(tmp_path / "houses.csv", [["town", "rooms", "price"], *rows])
    run = table_spec(
        data,
        tmp_path / "store",
        Table(target="price", target_kind=NUMERIC),
        network={"hidden_units": ()},
        epochs=30,
        loss=loss,
        optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=0.1),
        mixed_precision=MixedPrecision.MIXED_BFLOAT16,
    )
    trained = stage("train", run)
    assert trained.code == 0, trained.message
    assert trained.result.metrics["r2"] >= 0.8
    assert 100_000 < trained.result.metrics["mae"] < 2_000_000
    exported = stage("export", run)
    assert exported.code == 0, exported.message
    assert exported.result.parity <= 1e-5


def test_a_rate_that_is_too_high_diverges_and_is_not_tried_again(
    diabetes: Path, tmp_path: Path, stage: Any, table_spec: Any
):
    run = table_spec(
        diabetes,
        tmp_path / "store",
        Table(target="progression", target_kind=NUMERIC),
        network={"hidden_units": ()},
        epochs=30,
        optimizer=Optimizer(name=OptimizerName.SGD, learning_rate=10.0),
    )
    ended = stage("train", run)
    assert (ended.code, ended.reason) == (65, "Diverged")
    assert re.fullmatch(
        r"The loss is no longer a number at step \d+ of \d+ in epoch \d+ of 30, with the rows diabetes\.csv:\d+, .* "
        r"and 11 more\. Lower spec\.training\.optimizer\.learningRate \(it is 10\), choose another "
        r"spec\.training\.optimizer\.name, or look at these rows\.",
        ended.sentence,
    ), ended.sentence
    assert not (tmp_path / "store" / ".runs" / "1" / "model.keras").exists()


def test_the_network_ends_in_one_linear_unit_and_what_brings_it_into_the_unit():
    target = Target("price", 1000.0, 50.0)
    model = build_mlp(Architecture(name=ArchitectureName.MLP), Encoding((0.0,), (1.0,), ()), 0, target)
    assert model.output_shape == (None, 1)
    unit = model.get_layer("standardised")
    assert (unit.units, unit.activation) == (1, keras.activations.linear)
    unit.set_weights([np.zeros_like(unit.get_weights()[0]), np.array([2.0])])
    assert model.predict_on_batch({"numbers": np.zeros((1, 1))}).tolist() == [[1100.0]]


@pytest.mark.parametrize("loss", [Loss.POISSON, Loss.MEAN_SQUARED_LOGARITHMIC_ERROR])
def test_no_answer_is_below_0_where_the_loss_has_its_logarithm(loss: Loss):
    target = Target("visits", 12.0, 40.0)
    model = build_mlp(Architecture(name=ArchitectureName.MLP), Encoding((0.0,), (1.0,), ()), 0, target, loss)
    unit, inputs = model.get_layer("standardised"), {"numbers": np.zeros((1, 1))}
    answers = []
    for standard in (0.0, -3.0, -200.0):
        unit.set_weights([np.zeros_like(unit.get_weights()[0]), np.array([standard])])
        answers.append(float(model.predict_on_batch(inputs)[0, 0]))
    assert answers == [pytest.approx(12), pytest.approx(12 * np.log1p(np.exp(-3) * (np.e - 1)), rel=1e-5), 0]


def test_counts_are_learned_by_poisson_and_measured_as_scikit_learn_would(
    tmp_path: Path, stage: Any, table_spec: Any, write_table: Any
):
    random = np.random.default_rng(2)
    hours = random.uniform(0, 4, 600).round(3)
    rows = [[hour, int(random.poisson(np.exp(hour)))] for hour in hours]
    data = write_table(tmp_path / "visits.csv", [["hours", "visits"], *rows])
    metrics = (MetricName.R2_SCORE, MetricName.MEAN_SQUARED_LOGARITHMIC_ERROR, MetricName.LOG_COSH_ERROR)
    run = table_spec(
        data,
        tmp_path / "store",
        Table(target="visits", target_kind=NUMERIC),
        epochs=40,
        loss=Loss.POISSON,
        optimizer=Optimizer(learning_rate=0.03),
        metrics=tuple(TrainingMetric(name=name) for name in metrics),
    )
    trained = stage("train", run)
    assert trained.code == 0, trained.message
    told = trained.result.metrics
    assert told["r2"] >= 0.8
    assert told["r2_score"] == pytest.approx(told["r2"], abs=1e-5)
    assert {"mean_squared_logarithmic_error", "log_cosh_error", "val_r2_score"} <= told.keys()
    history = load(tmp_path / "store/.runs/1/history.json")
    assert {"r2_score", "val_r2_score", "val_log_cosh_error"} <= history.keys()
    exported = stage("export", run)
    assert exported.code == 0, exported.message
    served = tf.saved_model.load(str(tmp_path / "store/1")).signatures["serving_default"]
    answers = served(hours=tf.constant(hours, tf.float32))["prediction"].numpy()
    assert answers.min() > 0
    assert np.abs(answers - np.exp(hours)).mean() < 4
    page = (tmp_path / "store/1/assets.extra/report.html").read_text()
    assert "mean over the test rows, in the target&#39;s unit" in page
    assert "mean squared logarithmic error" in page


@pytest.mark.parametrize(
    ("least", "asked", "says"),
    [
        (
            -2.5,
            {"loss": Loss.POISSON},
            (
                "The target 'gain' has -2.5, and poisson is of numbers that are 0 or more. Choose another in "
                "spec.training.loss, such as mean_absolute_error, or correct the rows."
            ),
        ),
        (
            0,
            {"loss": Loss.MEAN_ABSOLUTE_PERCENTAGE_ERROR},
            (
                "The target 'gain' is 0 in 1 of 60 rows, of which no error is a percentage, and "
                "mean_absolute_percentage_error is one. Choose another in spec.training.loss, such as "
                "mean_absolute_error, or correct the rows."
            ),
        ),
        (
            -1,
            {"metrics": (TrainingMetric(name=MetricName.MEAN_SQUARED_LOGARITHMIC_ERROR),)},
            (
                "The target 'gain' has -1, and mean_squared_logarithmic_error is of numbers that are 0 or more. Choose "
                "another in spec.training.metrics, such as mean_absolute_error, or correct the rows."
            ),
        ),
        (0, {"loss": Loss.POISSON}, ""),
        (-2.5, {"loss": Loss.HUBER}, ""),
    ],
    ids=["below 0", "0", "below 0 in a metric", "0 is a count", "a difference"],
)
def test_numbers_that_a_loss_or_a_metric_is_not_of_are_refused(
    least: float, asked: Any, says: str, tmp_path: Path, context: Any, table_spec: Any, write_table: Any
):
    rows = [[place, least if place == 7 else place + 1] for place in range(60)]
    data = write_table(tmp_path / "gains.csv", [["place", "gain"], *rows])
    training = table_spec(data, tmp_path, Table(target="gain", target_kind=NUMERIC), **asked).training
    if says:
        with pytest.raises(BadData, match=f"^{re.escape(says)}$"):
            read_dataset(training, None, context)
    else:
        assert len(read_dataset(training, None, context).dataset.examples) == 60


@pytest.mark.parametrize("loss", [None, *OF_NUMBERS])
def test_every_loss_is_keras_own_of_the_standardised_number_or_of_the_number_itself(
    loss: Loss | None, diabetes: Path, read: Any, table_spec: Any
):
    wanted = Table(target="progression", target_kind=NUMERIC)
    table, split = read(diabetes, wanted)
    parameters = LossParameters(delta=0.3) if loss is Loss.HUBER else None
    training = table_spec(diabetes, Path("/nowhere"), wanted, loss=loss, loss_parameters=parameters).training
    model = build_mlp(training.architecture, table.encoding, 0, table.target, loss)
    compile_for(training, model, 1, target=table.target)
    batches = batches_of(table, split.test, batch_size=100).dataset(0, training.objective)
    measured = model.evaluate(batches, return_dict=True, verbose=0)

    def standard(values: Any) -> Any:
        if loss in {Loss.MEAN_ABSOLUTE_PERCENTAGE_ERROR, Loss.MEAN_SQUARED_LOGARITHMIC_ERROR, Loss.POISSON}:
            return values
        return (values - table.target.mean) / table.target.deviation

    true = table.values[split.test]
    answers = np.concatenate([model.predict_on_batch(inputs)[:, 0] for inputs, _ in batches])
    by_keras = keras.losses.Huber(delta=0.3) if parameters else keras.losses.get(str(loss or Loss.MEAN_SQUARED_ERROR))
    expected = float(by_keras(standard(true), standard(answers)))
    assert measured["loss"] == pytest.approx(expected, rel=1e-3)
    each = loss_of_each(training, table.target)(true[:, None].astype(np.float32), answers[:, None])
    assert float(np.mean(each)) == pytest.approx(expected, rel=1e-3)
    assert measured["mae"] == pytest.approx(np.abs(true - answers).mean(), rel=1e-4)
    assert measured["rmse"] == pytest.approx(np.sqrt(((true - answers) ** 2).mean()), rel=1e-4)


def test_an_answer_that_differs_is_held_against_the_scale(trained_diabetes: Any, exported_diabetes: Any):
    assert exported_diabetes.code == 0
    run, stored = trained_diabetes.run, trained_diabetes.store / "1"
    model = keras.models.load_model(run / "model.keras", compile=False)
    samples = RowSamples.load(run / "samples.npz", columns(run))
    assert check_numbers(stored, model, samples, 75.0) <= 1e-5
    other = keras.Model(model.inputs, keras.layers.Rescaling(1.0, offset=0.02)(model.outputs[0]))
    with pytest.raises(
        ParityFailed, match=r"^the saved model\.keras differs from the model in training by 0\.00027 on"
    ):
        check_numbers(stored, other, samples, 75.0)
    shifted = RowSamples(samples.columns, samples.cells, samples.answers + 0.02)
    with pytest.raises(ParityFailed, match="serving_default differs from the model in training"):
        check_numbers(stored, other, shifted, 75.0)


def test_what_a_float32_cannot_hold_is_no_difference():
    assert Target("year", 1990.0, 20.0).scale == 99.5
    assert Target("height", 1.7, 0.1).scale == 0.1
    assert Target("gain", -1000.0, 1.0).scale == 50.0
