"""Where models are, on a device and in a memory that are made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime_image.engine.failure import EngineFailure
from cdk_stable_diffusion.runtime_image.engine.greedy_dual import GreedyDual
from cdk_stable_diffusion.runtime_image.engine.placement import Placement
from cdk_stable_diffusion.runtime_image.engine.shelf import Shelf

TOTAL = 10_000


@dataclass
class FakeDevice:
    """A device of 10,000 bytes, besides which there is a clock."""

    used: int = 0
    time: float = 0.0

    def free(self) -> int:
        """Return what could be allocated."""
        return TOTAL - self.used

    def total(self) -> int:
        """Return all that it has."""
        return TOTAL

    def clock(self) -> float:
        """Return the time."""
        return self.time


@dataclass
class FakeModel:
    """A model that takes its time to be moved."""

    device: FakeDevice
    size: int
    seconds: float = 1.0
    where: str = "memory"
    fails: list[EngineFailure] = field(default_factory=list)

    def to_device(self) -> None:
        """Move."""
        if self.fails:
            raise self.fails.pop()
        if self.device.free() < self.size:
            raise EngineFailure("out-of-memory", "no room", transient=True)
        assert self.where == "memory"
        self.device.used += self.size
        self.device.time += self.seconds
        self.where = "gpu"

    def to_memory(self) -> None:
        """Move back."""
        if self.fails:
            raise self.fails.pop()
        assert self.where == "gpu"
        self.device.used -= self.size
        self.where = "memory"

    def drop(self) -> None:
        """Vanish."""
        if self.where == "gpu":
            self.device.used -= self.size
        self.where = "nowhere"


class World:
    """A placement, and the models that were read for it."""

    def __init__(self, *, memory: int = 0, has_device: bool = True) -> None:
        self.device = FakeDevice()
        self.told: list[Mapping[str, str]] = []
        self.reads: list[str] = []
        self.models: dict[str, FakeModel] = {}
        self.shelf = Shelf[FakeModel](memory)
        self.placement = Placement(
            self.device if has_device else None,
            self.shelf,
            told=self.told.append,
            clock=self.device.clock,
        )

    def bring(
        self, name: str, size: int, *, seconds: float = 1.0, read_seconds: float = 4.0
    ) -> str:
        """Bring a model to the device and say where it was."""

        def read() -> FakeModel:
            self.reads.append(name)
            self.device.time += read_seconds
            self.models[name] = FakeModel(self.device, size, seconds)
            return self.models[name]

        model, tier = self.placement.bring(name, read, size=size)
        assert model is self.models[name]
        assert model.where == "gpu"
        return tier

    @property
    def held(self) -> dict[str, str]:
        """Where models are; told of, and true."""
        held = self.placement.held
        assert dict(self.told[-1]) == held
        there = {name: each.where for name, each in self.models.items()}
        assert held == {name: where for name, where in there.items() if where != "nowhere"}
        return held


def test_as_many_models_stay_on_the_device_as_fit_beside_the_drawing() -> None:
    world = World()
    assert [world.bring(name, 2_000) for name in "abc"] == ["disk"] * 3
    # Nothing was drawn yet, so three tenths are left for that.
    assert world.held == {"a": "gpu", "b": "gpu", "c": "gpu"}
    assert world.bring("d", 2_000) == "disk"
    assert world.held == {"b": "gpu", "c": "gpu", "d": "gpu"}
    assert world.bring("b", 2_000) == "gpu"
    assert world.reads == ["a", "b", "c", "d"]


def test_what_drawing_takes_is_left_for_it() -> None:
    world = World()
    for name in "abc":
        world.bring(name, 2_000)
        world.placement.drew(400)
    # Little was seen, and some is left all the same.
    world.bring("d", 2_000)
    assert len(world.held) == 4
    world.placement.drew(4_000)
    world.bring("e", 2_000)
    assert world.held == {"d": "gpu", "e": "gpu"}


def test_what_drawing_took_once_is_forgotten() -> None:
    world = World()
    world.placement.drew(8_000)
    for _ in range(300):
        world.placement.drew(100)
    for name in "abcd":
        world.bring(name, 2_000)
    assert len(world.held) == 4


def test_a_model_that_must_make_room_waits_in_memory() -> None:
    world = World(memory=4_000)
    for name in "abcd":
        world.bring(name, 3_000)
    # Two fit on the device, and one in the memory.
    assert world.held == {"b": "memory", "c": "gpu", "d": "gpu"}
    assert world.models["a"].where == "nowhere"
    assert world.bring("b", 3_000) == "memory"
    assert world.held == {"c": "memory", "d": "gpu", "b": "gpu"}
    assert world.reads == ["a", "b", "c", "d"]


def test_what_makes_room_is_told_of_before_the_next_model_is_read() -> None:
    world = World(memory=4_000, has_device=False)
    for name in "ab":
        world.bring(name, 3_000)
    seen: list[Mapping[str, str]] = []

    def read() -> FakeModel:
        seen.append(world.told[-1])
        return FakeModel(world.device, 3_000, 1.0)

    world.placement.bring("c", read, size=3_000)
    assert seen == [{"b": "memory"}]


def test_without_a_device_one_model_is_held_beside_the_memory() -> None:
    world = World(memory=4_000, has_device=False)
    for name in "abc":
        world.bring(name, 2_000)
    assert world.held == {"a": "memory", "b": "memory", "c": "gpu"}
    assert world.bring("a", 2_000) == "memory"
    world = World(has_device=False)
    for name in "ab":
        world.bring(name, 2_000)
    assert world.held == {"b": "gpu"}


def test_what_takes_long_to_come_back_stays() -> None:
    world = World()
    world.bring("slow", 3_000, read_seconds=60.0)
    for name in ("one", "two", "three"):
        world.bring(name, 3_000)
    assert set(world.held) == {"slow", "three"}
    # Not for ever.
    for number in range(30):
        world.bring(f"more {number}", 3_000)
    assert "slow" not in world.held


def test_a_model_is_worth_what_the_memory_does_not_save() -> None:
    world = World(memory=3_000)
    # Both fit in memory: the one that was slow to read is as quick to come back.
    world.bring("read slowly", 3_000, read_seconds=60.0)
    world.bring("moved slowly", 3_000, seconds=2.0)
    world.bring("next", 3_000)
    assert world.held["read slowly"] == "memory"
    assert world.held["moved slowly"] == "gpu"


def test_what_is_read_ahead_is_the_next_from_memory() -> None:
    world = World(memory=4_000)
    world.bring("a", 3_000)
    world.models["b"] = FakeModel(world.device, 3_000)
    world.placement.put("b", world.models["b"], seconds=5.0)
    assert world.held == {"a": "gpu", "b": "memory"}
    assert world.bring("b", 3_000) == "memory"
    assert world.reads == ["a"]
    for name in ("a", "b"):
        again = FakeModel(world.device, 3_000)
        world.placement.put(name, again, seconds=5.0)
        assert again.where == "nowhere"
    large = FakeModel(world.device, 5_000)
    world.placement.put("large", large, seconds=5.0)
    assert large.where == "nowhere"
    assert world.held == {"a": "gpu", "b": "gpu"}


def test_memory_that_runs_out_while_loading_is_taken_from_the_others() -> None:
    world = World(memory=9_000)
    for name in "ab":
        world.bring(name, 2_000)
    # Somebody else has taken what seemed to be free, or it is in pieces.
    model = FakeModel(world.device, 2_000)
    model.fails.append(EngineFailure("out-of-memory", "no room", transient=True))
    world.models["c"] = model
    assert world.placement.bring("c", lambda: model, size=2_000) == (model, "disk")
    assert world.held == {"a": "memory", "b": "memory", "c": "gpu"}


def test_memory_that_runs_out_while_reading_is_taken_from_those_that_wait() -> None:
    world = World(memory=9_000)
    for name in "abcd":
        world.bring(name, 3_000)
    assert sorted(world.held.values()) == ["gpu", "gpu", "memory", "memory"]
    model = FakeModel(world.device, 3_000)
    tries: list[EngineFailure] = [EngineFailure("out-of-memory", "no room", transient=True)]

    def read() -> FakeModel:
        if tries:
            raise tries.pop()
        return model

    world.models["e"] = model
    world.placement.bring("e", read, size=3_000)
    assert sorted(world.held.items()) == [("d", "gpu"), ("e", "gpu")]


def test_memory_that_is_too_small_for_the_model_alone_is_a_failure() -> None:
    world = World(memory=20_000)
    world.bring("a", 2_000)
    with pytest.raises(EngineFailure, match="no room"):
        world.bring("large", 11_000)
    assert world.held == {"a": "memory"}
    assert world.bring("a", 2_000) == "memory"


def test_a_model_that_cannot_be_loaded_leaves_the_others_alone() -> None:
    world = World()
    world.bring("a", 2_000)

    def fail() -> FakeModel:
        raise EngineFailure("model-invalid", "no model")

    with pytest.raises(EngineFailure, match="no model"):
        world.placement.bring("b", fail, size=2_000)
    broken = FakeModel(world.device, 2_000, fails=[EngineFailure("generation-failed", "CUDA")])
    with pytest.raises(EngineFailure, match="CUDA"):
        world.placement.bring("b", lambda: broken, size=2_000)
    assert broken.where == "nowhere"
    assert world.held == {"a": "gpu"}


def test_a_model_that_the_memory_does_not_take_is_given_up() -> None:
    world = World(memory=9_000)
    world.bring("a", 4_000)
    world.models["a"].fails.append(EngineFailure("out-of-memory", "none left", transient=True))
    world.bring("b", 4_000)
    assert world.held == {"b": "gpu"}


def test_a_drawing_may_have_all_of_the_device() -> None:
    world = World(memory=2_000)
    for name in "abc":
        world.bring(name, 2_000)
    assert world.placement.spare("c") == 4_000
    assert world.placement.leave_alone("c")
    assert world.held == {"b": "memory", "c": "gpu"}
    assert world.placement.spare("c") == 0
    assert not world.placement.leave_alone("c")


def test_it_is_told_of_changes_alone() -> None:
    world = World()
    for name in "aabab":
        world.bring(name, 2_000)
    assert world.told == [{"a": "gpu"}, {"a": "gpu", "b": "gpu"}]


@settings(max_examples=60)
@given(
    uses=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40),
    sizes=st.lists(st.integers(1, 6_000), min_size=6, max_size=6),
    memory=st.sampled_from([0, 3_000, 9_000]),
)
def test_whatever_is_asked_for_nothing_is_lost_or_held_twice(
    uses: list[tuple[int, bool]], sizes: list[int], memory: int
) -> None:
    world = World(memory=memory)
    world.bring("first", 1)
    for number, is_ahead in uses:
        name, size = str(number), sizes[number]
        was = world.placement.held.get(name, "disk")
        if is_ahead and was == "disk":
            world.models[name] = FakeModel(world.device, size)
            world.placement.put(name, world.models[name], seconds=5.0)
        elif not is_ahead:
            assert world.bring(name, size) == was
        there: Callable[[str], int] = lambda tier: sum(  # noqa: E731
            world.models[each].size for each, where in world.held.items() if where == tier
        )
        assert there("memory") <= memory
        assert there("gpu") == world.device.used <= TOTAL


def test_of_equal_worth_the_one_used_longest_ago_goes_first() -> None:
    order = GreedyDual()
    for name in ("a", "b", "a"):
        order.use(name, seconds=1.0, size=10)
    assert order.least() == "b"
    assert order.least(but="b") == "a"
    order.remove("b")
    order.remove("b")
    assert order.least(but="a") is None


def test_a_small_model_is_worth_more_than_a_large_one_as_quick() -> None:
    order = GreedyDual()
    order.use("small", seconds=1.0, size=10)
    order.use("large", seconds=1.0, size=1_000)
    assert order.least() == "large"
