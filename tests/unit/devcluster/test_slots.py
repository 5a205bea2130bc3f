import ipaddress
import itertools
import json
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.places import Places
from devcluster.slots import BLOCK, COUNT, Slot, choose, claim, recorded, routed


def test_every_slot_lies_in_the_benchmark_block_and_no_two_share_an_address():
    slots = [Slot(number) for number in range(COUNT)]
    assert all(slot.network.subnet_of(BLOCK) for slot in slots)
    assert not any(a.network.overlaps(b.network) for a, b in itertools.combinations(slots, 2))


@pytest.mark.parametrize("number", range(COUNT))
def test_the_parts_of_a_slot_do_not_overlap_and_fill_no_other(number):
    slot = Slot(number)
    parts = (slot.link, slot.second_link, slot.second_pods, slot.pods, slot.services)
    assert all(part.subnet_of(slot.network) for part in parts)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(parts, 2))


def test_addresses_of_the_first_slot():
    slot = Slot(0)
    assert (slot.host, slot.node) == ("198.18.0.1", "198.18.0.2")
    assert (slot.api_service, slot.dns_service) == ("198.18.32.1", "198.18.32.10")
    assert (slot.second_gateway, slot.second_node) == ("198.18.0.5", "198.18.0.6")
    assert slot.second_pods == ipaddress.IPv4Network("198.18.8.0/21")
    assert slot.pods == ipaddress.IPv4Network("198.18.16.0/20")
    assert slot.host_interface == "ko0"


@pytest.mark.parametrize("number", [-1, COUNT])
def test_a_slot_outside_the_block_cannot_be_made(number):
    with pytest.raises(ValueError, match="is not in 0"):
        Slot(number)


def test_the_lowest_free_slot_is_chosen():
    assert choose({0, 1, 3}) == Slot(2)


def test_with_all_slots_taken_the_error_says_what_to_do():
    with pytest.raises(DevclusterError, match="make cluster-down"):
        choose(set(range(COUNT)))


def test_routes_of_others_take_their_slots():
    routes = [{"dst": "default"}, {"dst": "10.0.0.0/8"}, {"dst": "198.18.80.0/20"}, {"dst": "198.19.0.2"}]
    assert routed(json.dumps(routes)) == {1, 4}
    assert routed("") == set()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr("devcluster.slots.MACHINE_LOCK", tmp_path / "machine.lock")
    return tmp_path


def places(machine: Path, tree: str) -> Places:
    return Places(cache=machine / "cache", tree=machine / tree)


def test_two_clones_get_two_slots_and_keep_them(machine):
    first, second = places(machine, "a"), places(machine, "b")
    assert claim(first, "[]") == Slot(0)
    assert claim(second, "[]") == Slot(1)
    assert claim(first, "[]") == Slot(0)
    assert recorded(second.state) == Slot(1)


def test_a_clone_without_a_cluster_has_no_slot(machine):
    assert recorded(places(machine, "a").state) is None
