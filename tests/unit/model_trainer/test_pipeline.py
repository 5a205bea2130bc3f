from typing import Any

import numpy as np
import pytest
from keras_operator.api import Augmentation, Loss

from model_trainer.data.pipeline import Batches, Shuffling
from model_trainer.workers.place import Shard

COUNT = 23


@pytest.fixture
def pixels() -> Any:
    """Image i is all i; one more row than there are images, as after a bad file."""
    return np.repeat(np.arange(COUNT + 1, dtype=np.uint8), 12).reshape(COUNT + 1, 2, 2, 3)


def batches(pixels: Any, shuffling: Shuffling | None = None) -> Batches:
    rows = np.arange(1, COUNT + 1)
    return Batches(pixels, rows, rows % 4, batch_size=5, shuffling=shuffling)


def order(dataset: Any) -> list[int]:
    return [round(float(image[0, 0, 0]) * 255) for images, _ in dataset for image in images.numpy()]


def test_images_are_rescaled_and_labels_go_with_them(pixels: Any):
    of = batches(pixels)
    seen = list(of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY))
    assert [len(images) for images, _ in seen] == [5, 5, 5, 5, 3]
    assert of.steps == 5
    images = np.concatenate([images.numpy() for images, _ in seen])
    labels = np.concatenate([labels.numpy() for _, labels in seen])
    assert images.dtype == np.float32
    assert np.allclose(images[:, 0, 0, 0] * 255, np.arange(1, COUNT + 1))
    assert np.array_equal(labels.argmax(axis=1), np.arange(1, COUNT + 1) % 4)
    assert np.array_equal(labels.sum(axis=1), np.ones(COUNT))


def test_a_batch_that_could_hold_more_holds_all(pixels: Any):
    rows = np.arange(1, COUNT + 1)
    of = Batches(pixels, rows, rows % 4, batch_size=65_536)
    assert [len(images) for images, _ in of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY)] == [COUNT]
    assert of.steps == 1


def test_the_sparse_loss_gets_class_indices(pixels: Any):
    _, labels = next(iter(batches(pixels).dataset(4, Loss.SPARSE_CATEGORICAL_CROSSENTROPY)))
    assert list(labels.numpy()) == [1, 2, 3, 0, 1]


def test_each_epoch_has_every_image_once_in_an_order_of_its_own_that_the_seed_repeats(pixels: Any):
    def epochs(seed: int) -> list[list[int]]:
        dataset = batches(pixels, Shuffling(seed, Augmentation())).dataset(4, Loss.CATEGORICAL_CROSSENTROPY)
        return [order(dataset), order(dataset)]

    first = epochs(1)
    assert [sorted(epoch) for epoch in first] == [list(range(1, COUNT + 1))] * 2
    assert first[0] != first[1]
    assert epochs(1) == first
    assert epochs(2) != first


def test_an_epoch_can_be_taken_up_in_its_middle():
    noise = np.random.default_rng(0).integers(0, 255, (COUNT + 1, 8, 8, 1), dtype=np.uint8)
    shuffling = Shuffling(3, Augmentation(rotation=40))
    whole = batches(noise, shuffling).dataset(4, Loss.CATEGORICAL_CROSSENTROPY)
    first, second, third = ([images.numpy() for images, _ in whole] for _ in range(3))
    of = batches(noise, shuffling)
    of.begin_at(1, 3)
    taken_up = [images.numpy() for images, _ in of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY)]
    next_epoch = [images.numpy() for images, _ in of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY)]
    assert [one.tolist() for one in taken_up] == [one.tolist() for one in second[3:]]
    assert [one.tolist() for one in next_epoch] == [one.tolist() for one in third]
    assert first[3].tolist() != second[3].tolist()


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(rotation=40), Augmentation(rotation=40, mixup=0.4, cutmix=1.0)],
    ids=["as they are", "changed one by one", "mixed with each other"],
)
def test_what_the_workers_get_is_together_what_one_alone_would_get(augmentation: Augmentation):
    noise = np.random.default_rng(0).integers(0, 255, (COUNT + 1, 8, 8, 1), dtype=np.uint8)
    rows = np.arange(1, COUNT + 1)

    def epoch(shard: Shard | None) -> list[tuple[Any, Any]]:
        of = Batches(noise, rows, rows % 4, batch_size=5, shuffling=Shuffling(3, augmentation), shard=shard)
        return [(images.numpy(), labels.numpy()) for images, labels in of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY)]

    alone, workers = epoch(None), [epoch(Shard(index, 3)) for index in range(3)]
    for whole, *parts in zip(alone, *workers, strict=True):
        for kind in (0, 1):
            np.testing.assert_allclose(np.concatenate([part[kind] for part in parts]), whole[kind], atol=1e-6)


def test_who_has_no_image_of_a_batch_computes_with_one_that_counts_for_nothing(pixels: Any):
    rows = np.arange(1, COUNT + 1)
    of = Batches(pixels, rows, rows % 4, batch_size=11, shard=Shard(0, 3))
    assert [of.size(step) for step in range(of.steps)] == [11, 11, 1]
    assert [len(images) for images, _ in of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY)] == [3, 3, 1]
    assert Shard(0, 3).of(1) == (0, 0)


def test_a_batch_says_whose_images_it_has(pixels: Any):
    of = batches(pixels, Shuffling(3, Augmentation()))
    of.begin_at(4, 0)
    seen = order(of.dataset(4, Loss.CATEGORICAL_CROSSENTROPY))
    # Image i is at place i - 1.
    assert [int(place) + 1 for step in range(of.steps) for place in of.batch(4, step)] == seen


def test_augmentation_changes_training_images_and_the_seed_repeats_it():
    noise = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 1), dtype=np.uint8)

    def images(augmentation: Augmentation) -> Any:
        shuffling = Shuffling(5, augmentation)
        rows = np.arange(8)
        of = Batches(noise, rows, rows, batch_size=8, shuffling=shuffling)
        return next(iter(of.dataset(8, Loss.CATEGORICAL_CROSSENTROPY)))[0].numpy()

    turned = images(Augmentation(rotation=90))
    assert np.abs(turned - images(Augmentation())).max() > 0.1
    assert np.array_equal(turned, images(Augmentation(rotation=90)))
