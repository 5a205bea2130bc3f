"""The projection cache: owners, equality, order of states, deletions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from keras_operator.cluster.cache import Cache
from keras_operator.cluster.reference import JOB, SERVICE, Ref

OWNER = ("vision", "dogs")
TRAIN = Ref(JOB, "vision", "dogs-1-train")


@pytest.fixture
def cache() -> Cache:
    return Cache()


def test_a_new_object_changes_its_owners_view(cache):
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5") == (OWNER,)
    assert cache.get(TRAIN) == "running"
    assert cache.owned(OWNER, JOB) == ("running",)


def test_an_equal_projection_changes_nothing_but_is_remembered_as_newer(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="9") == ()
    assert cache.put(TRAIN, OWNER, "pending", uid="u1", resource_version="7") == ()
    assert cache.get(TRAIN) == "running"


def test_an_older_state_that_arrives_late_is_ignored_and_numbers_are_not_compared_as_text(cache):
    cache.put(TRAIN, OWNER, "done", uid="u1", resource_version="10")
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="9") == ()
    assert cache.get(TRAIN) == "done"


def test_the_same_state_may_be_put_again_with_another_projection(cache):
    cache.put(TRAIN, OWNER, "a", uid="u1", resource_version="10")
    assert cache.put(TRAIN, OWNER, "b", uid="u1", resource_version="10") == (OWNER,)


def test_an_object_made_anew_under_the_same_name_is_a_change_even_if_it_looks_alike(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    assert cache.put(TRAIN, OWNER, "running", uid="u2", resource_version="6") == (OWNER,)


def test_a_late_event_about_a_deleted_object_does_not_hide_its_successor(cache):
    cache.put(TRAIN, OWNER, "second", uid="u2", resource_version="12")
    assert cache.put(TRAIN, OWNER, "first", uid="u1", resource_version="9") == ()
    assert cache.drop(TRAIN, "u1") == ()
    assert cache.get(TRAIN) == "second"


def test_a_changed_owner_wakes_both(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    other = ("vision", "cats")
    assert cache.put(TRAIN, other, "running", uid="u1", resource_version="6") == (OWNER, other)
    assert cache.owned(OWNER, JOB) == ()
    assert cache.owned(other, JOB) == ("running",)


def test_owned_is_sorted_by_name_and_of_one_kind_and_owner(cache):
    for name in ("dogs-2", "dogs-10", "dogs-1"):
        cache.put(Ref(JOB, "vision", name), OWNER, name)
    cache.put(Ref(SERVICE, "vision", "dogs"), OWNER, "service")
    cache.put(Ref(JOB, "vision", "cats-1"), ("vision", "cats"), "cats")
    assert cache.owned(OWNER, JOB) == ("dogs-1", "dogs-10", "dogs-2")
    assert cache.count(JOB) == 4
    assert Ref(JOB, "vision", "cats-1") in cache.refs(JOB)


@dataclass(frozen=True)
class Folder:
    """A projection that can be found by what it marks."""

    mark: str | None
    words: str = ""


def test_objects_of_a_kind_are_found_by_their_mark_as_it_is_now(cache):
    one, two = Ref(JOB, "vision", "one"), Ref(JOB, "vision", "two")
    cache.put(two, OWNER, Folder("a"), uid="u2", resource_version="1")
    cache.put(one, ("vision", "cats"), Folder("a"), uid="u1", resource_version="2")
    cache.put(Ref(SERVICE, "vision", "one"), OWNER, Folder("a"), uid="u3", resource_version="3")
    assert cache.marked(JOB, "a") == (Folder("a"), Folder("a"))
    cache.put(one, OWNER, Folder("a", "said more"), uid="u1", resource_version="4")
    assert cache.marked(JOB, "a") == (Folder("a", "said more"), Folder("a"))
    cache.put(one, OWNER, Folder("b"), uid="u1", resource_version="5")
    assert (cache.marked(JOB, "a"), cache.marked(JOB, "b")) == ((Folder("a"),), (Folder("b"),))
    cache.put(one, OWNER, None, uid="u1", resource_version="6")
    cache.drop(two, "u2")
    assert (cache.marked(JOB, "a"), cache.marked(JOB, "b")) == ((), ())
    cache.drop(Ref(SERVICE, "vision", "one"))
    assert not cache._marked


def test_a_dropped_object_changes_its_owners_view_once(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    assert cache.drop(TRAIN, "u1") == (OWNER,)
    assert cache.drop(TRAIN, "u1") == ()
    assert cache.get(TRAIN) is None
    assert cache.owned(OWNER, JOB) == ()


def test_nothing_of_an_owner_stays_when_its_last_object_is_gone(cache):
    other = Ref(JOB, "vision", "dogs-2-train")
    cache.put(TRAIN, OWNER, "running", uid="u1")
    cache.put(other, OWNER, "waiting", uid="u2")
    cache.drop(TRAIN, "u1")
    assert cache.owned(OWNER, JOB) == ("waiting",)
    cache.drop(other, "u2")
    assert not cache._owned


def test_the_deletion_of_an_earlier_object_of_that_name_leaves_the_later_one(cache):
    cache.put(TRAIN, OWNER, "second", uid="u2", resource_version="8")
    assert cache.drop(TRAIN, "u1") == ()
    assert cache.get(TRAIN) == "second"


def test_an_answer_that_arrives_after_the_deletion_does_not_revive_the_object(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    cache.drop(TRAIN, "u1", "8")
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="6") == ()
    assert cache.put(TRAIN, OWNER, "running", uid="u1") == ()
    assert cache.get(TRAIN) is None
    assert cache.was_deleted(TRAIN, "u1")
    assert cache.put(TRAIN, OWNER, "again", uid="u2", resource_version="9") == (OWNER,)


def test_an_object_whose_label_was_taken_off_may_come_back(cache):
    """The watch calls it deleted, with the resourceVersion of that change."""
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    assert cache.drop(TRAIN, "u1", "8") == (OWNER,)
    assert cache.was_deleted(TRAIN, "u1", "7")
    assert not cache.was_deleted(TRAIN, "u1", "8")
    assert cache.put(TRAIN, OWNER, "as it was read", uid="u1", resource_version="8") == (OWNER,)
    assert cache.put(TRAIN, OWNER, "labelled again", uid="u1", resource_version="9") == (OWNER,)
    assert cache.put(TRAIN, OWNER, "a late event", uid="u1", resource_version="7") == ()


def test_a_late_deletion_does_not_take_away_what_came_after_it(cache):
    cache.put(TRAIN, OWNER, "labelled again", uid="u1", resource_version="9")
    assert cache.drop(TRAIN, "u1", "8") == ()
    assert cache.get(TRAIN) == "labelled again"


def test_what_an_audit_missed_comes_back_with_a_later_state_only(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5")
    assert cache.drop(TRAIN, "u1") == (OWNER,)
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="5") == ()
    assert cache.put(TRAIN, OWNER, "done", uid="u1", resource_version="6") == (OWNER,)


def test_states_without_an_order_stay_forgotten(cache):
    cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="a")
    cache.drop(TRAIN, "u1", "b")
    assert cache.put(TRAIN, OWNER, "running", uid="u1", resource_version="c") == ()


def test_an_unreadable_object_is_accounted_for_and_not_visible(cache):
    cache.put(TRAIN, OWNER, None, uid="u1", resource_version="5")
    assert cache.owned(OWNER, JOB) == ()
    entry = cache.entry(TRAIN)
    assert entry is not None
    assert entry.resource_version == "5"


def test_deletions_are_forgotten_after_many_later_ones(cache):
    cache.drop(TRAIN, "u1")
    for number in range(10_000):
        cache.drop(Ref(JOB, "vision", f"j{number}"), f"v{number}")
    assert not cache.was_deleted(TRAIN, "u1")


def test_a_kind_is_synced_when_said_so(cache):
    assert not cache.synced(JOB)
    cache.mark_synced(JOB)
    assert cache.synced(JOB)
    assert not cache.synced(SERVICE)
