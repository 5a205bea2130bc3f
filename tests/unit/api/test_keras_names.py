"""The names that the API offers are the names that Keras has."""

import inspect

import pytest
from keras_operator.api import ArchitectureName, Loss, OptimizerName, smallest_image

OWN = {ArchitectureName.SIMPLE_CNN, ArchitectureName.SMALL_CNN}


@pytest.fixture(scope="module")
def keras():
    import keras  # takes seconds, and only these tests need it

    return keras


def test_every_network_of_keras_applications_is_offered(keras):
    there = {name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))}

    assert {str(name) for name in ArchitectureName} - {str(name) for name in OWN} == there


def test_every_optimizer_is_one_of_keras(keras):
    for name in OptimizerName:
        assert keras.optimizers.get(str(name)).__class__.__name__.lower() == name


def test_every_loss_is_one_of_keras(keras):
    for loss in Loss:
        assert callable(keras.losses.get(str(loss)))


@pytest.mark.parametrize("name", sorted(set(ArchitectureName) - OWN))
def test_smallest_image_is_that_of_keras(keras, name):
    smallest = smallest_image(name)

    with pytest.raises(ValueError, match=f"Input size must be at least {smallest}x{smallest}"):
        getattr(keras.applications, name)(weights=None, input_shape=(smallest - 1, smallest, 3), classes=2)
