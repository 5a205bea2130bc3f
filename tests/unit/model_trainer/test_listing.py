import pytest

from model_store import Entry
from model_trainer.data.listing import Listing, list_images
from model_trainer.failure import BadData, NoImages, OneClass

URI = "s3://datasets/pets"


def listing(*keys: str) -> Listing:
    return list_images(URI, [Entry(key, 10) for key in keys])


def test_the_first_folder_is_the_class_and_files_below_it_count_to_it():
    found = listing("dog/b.jpg", "cat/1.png", "cat/more/even/2.PNG", "dog/a.JPEG", "cat/3.bmp", "dog/c.gif")
    assert found.classes == ("cat", "dog")
    assert [(file.key, file.label) for file in found.files] == [
        ("cat/1.png", 0),
        ("cat/3.bmp", 0),
        ("cat/more/even/2.PNG", 0),
        ("dog/a.JPEG", 1),
        ("dog/b.jpg", 1),
        ("dog/c.gif", 1),
    ]


def test_classes_are_sorted_by_name_and_may_have_spaces_and_other_letters():
    found = listing("zebra/1.png", "Bär mit Hut/1.png", "猫/1.png", "äpfel/1.png", "10/1.png", "9/1.png")
    assert found.classes == ("10", "9", "Bär mit Hut", "zebra", "äpfel", "猫")
    assert [found.classes[file.label] for file in found.files] == [file.key.partition("/")[0] for file in found.files]


def test_hidden_files_and_other_kinds_are_left_out_and_counted():
    found = listing(
        "a/1.png", "b/1.png", "a/.DS_Store", ".git/x/1.png", "a/.thumbs/1.png", "a/n.txt", "b/m.txt", "a/raw"
    )
    assert len(found.files) == 2
    assert found.ignored == {".txt": 2, "hidden": 3, "without extension": 1}


def test_images_outside_a_class_folder_are_counted():
    assert listing("a/1.png", "b/1.png", "loose.png").ignored == {"images outside a class folder": 1}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ((), "nothing was found there at all"),
        (("a/1.tiff", "b/1.tiff", "readme.txt"), "3 other files were found (2 .tiff, 1 .txt)"),
        (("1.png", "2.png"), "2 images outside a class folder"),
        ((".x/1.png",), "1 hidden"),
    ],
    ids=["nothing", "other kinds", "no class folders", "hidden"],
)
def test_no_images_names_the_uri_and_what_was_found_instead(keys: tuple[str, ...], told: str):
    with pytest.raises(NoImages) as caught:
        listing(*keys)
    assert f"No images under {URI}: " in str(caught.value)
    assert told in str(caught.value)
    assert "spec.training.data.uri" in str(caught.value)


def test_one_class_names_it_and_says_what_to_do():
    with pytest.raises(OneClass, match=r"one class folder, 'cat', with 2 images; .* at least two\. Put the images"):
        listing("cat/1.png", "cat/2.png", "readme.txt")


def test_one_image_is_of_one_class():
    with pytest.raises(OneClass, match=r"has one class folder, 'cat', with 1 image; a classifier needs at least two\."):
        listing("cat/1.png")


def test_a_hundred_thousand_classes_are_refused_from_their_names():
    with pytest.raises(BadData) as caught:
        listing(*(f"{image:06}/1.png" for image in range(100_000)))
    assert str(caught.value) == (
        f"{URI} has 100,000 class folders, and 10,000 are the most. A folder right below it is a class and not an "
        "image: put the images of each class into one folder."
    )
    assert len(listing(*(f"{image:06}/1.png" for image in range(10_000))).classes) == 10_000
