"""The prediction cache: bounds, CLOCK, single flight."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_image.cache import ENTRY_BYTES, Key, PredictionCache

Cache = PredictionCache[object]


def key(name: str, deployment: str = "d") -> Key:
    return (deployment, name.encode())


def cache_of(entries: int) -> Cache:
    """Return a cache with room for so many entries of a one-byte input and a one-byte output."""
    return Cache(entries * (ENTRY_BYTES + 2))


def test_what_was_put_is_found_under_its_deployment_only() -> None:
    cache = cache_of(9)
    cache.put(key("a"), b"1")
    assert cache.get(key("a")) == b"1"
    assert cache.get(key("b")) is None
    assert cache.get(key("a", "another deployment")) is None


def test_an_unmarked_entry_goes_first_and_a_marked_one_gets_a_second_chance() -> None:
    cache = cache_of(3)
    for name in "abc":
        cache.put(key(name), b"1")
    cache.get(key("a"))
    cache.put(key("d"), b"1")  # the hand passes a and takes b
    assert [name for name in "abcd" if cache.get(key(name))] == ["a", "c", "d"]


@pytest.mark.parametrize("input_bytes", [8, 80, 800])
def test_a_full_cache_takes_no_more_memory_than_it_says(input_bytes: int) -> None:
    capacity_bytes = 2**21
    tracemalloc.start()
    try:
        cache = Cache(capacity_bytes)
        for number in range(20_000):
            cache.put(("deployed", number.to_bytes(input_bytes, "big")), b"%d.5" % number)
        assert 0.8 * capacity_bytes < cache.size_bytes <= capacity_bytes
        assert tracemalloc.get_traced_memory()[1] <= 1.1 * capacity_bytes
    finally:
        tracemalloc.stop()


def test_the_second_chance_is_one_only() -> None:
    cache = cache_of(2)
    cache.put(key("a"), b"1")
    cache.put(key("b"), b"1")
    cache.get(key("a"))
    for name in "cd":
        cache.put(key(name), b"1")
    assert cache.get(key("a")) is None


def test_an_output_put_again_replaces_the_old_one() -> None:
    cache = cache_of(9)
    cache.put(key("a"), b"1")
    size = cache.size_bytes
    cache.put(key("a"), b"333")
    assert (cache.get(key("a")), len(cache), cache.size_bytes) == (b"333", 1, size + 2)


def test_an_output_larger_than_the_cache_is_not_kept_and_evicts_nothing() -> None:
    cache = cache_of(1)
    cache.put(key("a"), b"1")
    cache.put(key("b"), b"1" * 5000)
    assert cache.get(key("a")) == b"1"
    assert cache.get(key("b")) is None


@pytest.mark.parametrize("capacity_bytes", [0, 1])
def test_zero_or_one_byte_turns_everything_off(capacity_bytes: int) -> None:
    cache = Cache(capacity_bytes)
    cache.put(key("a"), b"1")
    cache.ask(key("a"), object())
    assert cache.get(key("a")) is None
    assert cache.in_flight(key("a")) is None


def test_the_query_in_flight_is_found_until_it_is_forgotten() -> None:
    cache, first, second = cache_of(9), object(), object()
    cache.ask(key("a"), first)
    assert cache.in_flight(key("a")) is first
    cache.ask(key("a"), second)
    cache.forget(key("a"), first)  # the place is another's by now
    assert cache.in_flight(key("a")) is second
    cache.forget(key("a"), second)
    assert cache.in_flight(key("a")) is None


class ReferenceClock:
    """CLOCK as in the textbooks: a fixed array of frames and a hand."""

    def __init__(self, frames: int) -> None:
        self.frames: list[list[object] | None] = [None] * frames
        self.hand = 0

    def get(self, name: str) -> bool:
        for frame in self.frames:
            if frame and frame[0] == name:
                frame[1] = True
                return True
        return False

    def put(self, name: str) -> None:
        while (frame := self.frames[self.hand]) and frame[1]:
            frame[1] = False
            self.hand = (self.hand + 1) % len(self.frames)
        self.frames[self.hand] = [name, False]
        self.hand = (self.hand + 1) % len(self.frames)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=200), st.integers(1, 5))
def test_the_hits_are_those_of_a_textbook_clock(names: list[str], frames: int) -> None:
    cache, reference = cache_of(frames), ReferenceClock(frames)
    for name in names:
        hit = cache.get(key(name)) is not None
        assert hit == reference.get(name)
        if not hit:
            cache.put(key(name), b"1")
            reference.put(name)


@given(
    st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=600), st.booleans()), max_size=100),
    st.integers(2, 3000),
)
def test_the_size_never_passes_the_capacity_and_is_that_of_what_is_kept(
    entries: list[tuple[bytes, bytes, bool]], capacity_bytes: int
) -> None:
    cache = Cache(capacity_bytes)
    newest: dict[Key, bytes] = {}
    for wire, output, read in entries:
        cache.put(("d", wire), output)
        newest["d", wire] = output
        if read:
            cache.get(("d", wire))
        assert cache.size_bytes <= capacity_bytes
    kept = {each: found for each in newest if (found := cache.get(each)) is not None}
    assert all(
        len(newest[each]) + ENTRY_BYTES + len(each[1]) > capacity_bytes or kept[each] == newest[each] for each in kept
    )
    assert cache.size_bytes == sum(ENTRY_BYTES + len(each[1]) + len(output) for each, output in kept.items())
    assert len(cache) == len(kept)
