"""The names that the API offers are the names that Keras has."""

import inspect
import re

import msgspec
import pytest
from keras_operator.api import (
    ArchitectureName,
    Loss,
    LossParameters,
    MetricName,
    MixedPrecision,
    Optimizer,
    OptimizerName,
    ScheduleName,
    TrainingMetric,
    smallest_image,
)
from keras_operator.api import loss_parameters as of_loss
from keras_operator.api import losses as of_losses
from keras_operator.api import metrics as of_metrics
from keras_operator.api.optimizer import TAKERS
from keras_operator.api.schedule import SHAPES

OWN = {ArchitectureName.SIMPLE_CNN, ArchitectureName.SMALL_CNN, ArchitectureName.MLP}


@pytest.fixture(scope="module")
def keras():
    import keras  # takes seconds, and only these tests need it

    return keras


def test_every_network_of_keras_applications_is_offered(keras):
    there = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}

    assert {str(name) for name in ArchitectureName} - {str(name) for name in OWN} == there


# What wraps other optimizers, and one that needs a call of its own before each evaluation.
NO_OPTIMIZERS = {"optimizer", "optimizermap", "lossscaleoptimizer", "multioptimizer", "schedulefreeadamw"}


def classes_of(module) -> dict[str, type]:
    return {name: getattr(module, name) for name in dir(module) if inspect.isclass(getattr(module, name))}


def test_every_optimizer_of_keras_is_offered(keras):
    there = {name.lower() for name in classes_of(keras.optimizers)} - NO_OPTIMIZERS

    assert {str(name) for name in OptimizerName} == there


def test_every_parameter_of_an_optimizer_is_offered_where_keras_takes_it(keras):
    takers = {name.lower(): inspect.signature(each).parameters for name, each in classes_of(keras.optimizers).items()}
    for field in msgspec.structs.fields(Optimizer):
        if field.name in {"name", "schedule"}:
            continue
        taken = {name for name in OptimizerName if field.name in takers[name]}
        assert taken == set(TAKERS.get(field.name, OptimizerName)), field.name


def test_every_schedule_of_keras_is_offered_with_its_parameters(keras):
    there = classes_of(keras.optimizers.schedules)
    del there["LearningRateSchedule"]
    assert {str(name) for name in ScheduleName} == there.keys()
    ours = {"decay_steps": "decay_epochs", "first_decay_steps": "decay_epochs", "warmup_steps": "warmup_epochs"}
    ours |= {"values": "factors"}
    # The rate itself is learningRate; restarts keep Keras' factors of period and height.
    left_out = {"initial_learning_rate", "warmup_target", "name", "t_mul", "m_mul"}
    for name, schedule in there.items():
        parameters = {ours.get(p, p) for p in inspect.signature(schedule).parameters if p not in left_out}
        assert parameters == SHAPES[ScheduleName(name)].keys(), name


def test_every_loss_of_keras_is_offered_or_named_with_why_not(keras):
    there = {snake_case(name) for name in classes_of(keras.losses).keys() - of_losses.LEFT_OUT.keys()}

    assert {str(loss) for loss in Loss} == there
    assert of_losses.LEFT_OUT.keys() <= classes_of(keras.losses).keys()


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def test_every_parameter_of_a_loss_is_offered_where_keras_takes_it(keras):
    by_name = {name.lower(): each for name, each in classes_of(keras.losses).items()}
    # Probabilities over classes are what every network here answers, and smoothing is a field of its own.
    left_out = {"from_logits", "label_smoothing", "ignore_class", "axis", "reduction", "name", "dtype"}
    there = {
        (parameter, loss)
        for loss in Loss
        for parameter in inspect.signature(by_name[loss.replace("_", "")]).parameters.keys() - left_out
    }
    assert there == {(parameter, loss) for parameter, losses in of_loss.TAKERS.items() for loss in losses}
    assert {field.name for field in msgspec.structs.fields(LossParameters)} == of_loss.TAKERS.keys()
    taken = {loss: inspect.signature(by_name[loss.replace("_", "")]).parameters for loss in Loss}
    smooth = {loss for loss in Loss if "label_smoothing" in taken[loss]}
    assert smooth == set(of_losses.OF_SMOOTH_LABELS)


# Metrics that tell nothing more of one class or number a row: what they are of, or what has the same number.
NO_METRICS = {
    "Mean Sum Metric MeanMetricWrapper": "parts of metrics",
    "Accuracy CategoricalAccuracy SparseCategoricalAccuracy": "accuracy, which is always measured",
    "SparseTopKCategoricalAccuracy": "top_k_categorical_accuracy",
    "SparseCategoricalCrossentropy": "categorical_crossentropy",
    "BinaryAccuracy BinaryCrossentropy Hinge SquaredHinge": "answers of yes and no",
    "IoU BinaryIoU MeanIoU OneHotIoU OneHotMeanIoU": "pixels",
    "ConcordanceCorrelation PearsonCorrelation": "several numbers a row, or one batch",
}


def test_every_metric_of_keras_for_classes_or_numbers_is_offered(keras):
    there = classes_of(keras.metrics).keys() - {name for names in NO_METRICS for name in names.split()}

    assert {str(name) for name in MetricName} == {snake_case(name) for name in there}
    by_name = vars(inspect.getmodule(keras.metrics.get))["ALL_OBJECTS_DICT"]
    assert {str(name) for name in MetricName} <= by_name.keys(), "what keras.metrics.get takes"


def test_every_parameter_of_a_metric_is_offered_where_keras_takes_it(keras):
    by_name = {name.lower(): each for name, each in classes_of(keras.metrics).items()}
    takers = {name: inspect.signature(by_name[name.replace("_", "")]).parameters for name in MetricName}
    for field in msgspec.structs.fields(TrainingMetric):
        if field.name == "name":
            continue
        ours = {field.name, "thresholds"} if field.name == "threshold" else {field.name}
        taken = {name for name in MetricName if ours & takers[name].keys()}
        # A list of thresholds gives the area its points, of which there is a number.
        assert taken - {MetricName.AUC} == set(of_metrics.TAKERS[field.name]) - {MetricName.AUC}, field.name
    assert {"curve", "multi_label", "num_thresholds"} <= takers[MetricName.AUC].keys()


def test_every_mixed_policy_is_one_of_keras(keras):
    for policy in MixedPrecision:
        dtypes = keras.dtype_policies.get(str(policy))
        assert (dtypes.compute_dtype, dtypes.variable_dtype) == (policy.removeprefix("mixed_"), "float32")


@pytest.mark.parametrize("name", sorted(set(ArchitectureName) - OWN))
def test_smallest_image_is_that_of_keras(keras, name):
    smallest = smallest_image(name)

    with pytest.raises(ValueError, match=f"Input size must be at least {smallest}x{smallest}"):
        getattr(keras.applications, name)(weights=None, input_shape=(smallest - 1, smallest, 3), classes=2)
