"""The state machines as they are written: every way ends, and in time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cdk_stable_diffusion.runtime.image_cache.definition import (
    OVERHEAD_SECONDS,
    BuildPlan,
    build_definition,
    cleanup_definition,
)


def plan(minutes: int = 45, subnets: int = 3) -> BuildPlan:
    return BuildPlan(
        cache="cache",
        launch_template_id="lt-1",
        launch_template_version="1",
        subnet_ids=[f"subnet-{number}" for number in range(subnets)],
        timeout_seconds=minutes * 60,
    )


def machines(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a state machine and those in its branches."""
    yield definition
    for state in definition["States"].values():
        for branch in state.get("Branches", ()):
            yield from machines(branch)


def targets(state: dict[str, Any]) -> set[str]:
    return {
        each["Next"]
        for each in (state, *state.get("Catch", ()), *state.get("Choices", ()))
        if "Next" in each
    } | ({state["Default"]} if "Default" in state else set())


DEFINITIONS = {
    "build": build_definition(plan()),
    "one-subnet": build_definition(plan(subnets=1)),
    "cleanup": cleanup_definition("cache"),
}


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_every_state_is_reached_and_leads_somewhere(definition: dict[str, Any]) -> None:
    for machine in machines(definition):
        states = machine["States"]
        reached, waiting = set(), [machine["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += targets(states[name])
        assert reached == set(states)
        for name, state in states.items():
            ends = state["Type"] in ("Succeed", "Fail") or state.get("End")
            assert bool(ends) != bool(targets(state)), name


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_every_call_has_a_time_limit_and_an_answer_to_errors(definition: dict[str, Any]) -> None:
    for machine in machines(definition):
        for name, state in machine["States"].items():
            if state["Type"] == "Task":
                assert state["TimeoutSeconds"] <= 60, name
                assert state.get("Retry") or state.get("Catch"), name


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_nothing_that_an_answer_may_lack_ends_a_loop(definition: dict[str, Any]) -> None:
    """AWS catches no path that leads nowhere, so a question that is asked again selects nothing."""
    for machine in machines(definition):
        for name, state in machine["States"].items():
            if state["Type"] == "Task" and f"{name}?" in machine["States"]:
                assert "ResultSelector" not in state, name


def test_only_the_end_of_a_build_is_outside_of_what_is_caught() -> None:
    outside = build_definition(plan())["States"]
    (catch,) = outside["Build"]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]
    actions = {
        state["Resource"].rpartition(":")[2]
        for state in outside.values()
        if state["Type"] == "Task"
    }
    assert actions == {"describeInstances", "terminateInstances"}


@pytest.mark.parametrize("minutes", [25, 45, 55])
def test_the_loops_end_before_the_state_machine_does(minutes: int) -> None:
    definition = build_definition(plan(minutes))
    slowest = 0
    counters: dict[str, int] = {}
    for machine in machines(definition):
        for name, state in machine["States"].items():
            if name.endswith(": in time?"):
                (choice,) = state["Choices"]
                loop = name.removesuffix(": in time?")
                seconds = machine["States"][f"{loop}: pause"]["Seconds"]
                longest = choice["NumericLessThan"] * seconds
                # Loops that share a counter share its time.
                shared = choice["Variable"] if "Worked" in choice["Variable"] else name
                counters[shared] = max(counters.get(shared, 0), longest)
    slowest = sum(counters.values())
    assert len(counters) == 4
    assert slowest < definition["TimeoutSeconds"] == minutes * 60
    assert slowest > minutes * 60 - OVERHEAD_SECONDS


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_texts_with_values_in_them_are_well_formed(definition: dict[str, Any]) -> None:
    for machine in machines(definition):
        for state in machine["States"].values():
            if state.get("CausePath", "").startswith("States.Format("):
                template = re.fullmatch(
                    r"States\.Format\('([^']*)', (.*)\)", state["CausePath"], re.DOTALL
                )
                assert template is not None
                assert template[1].count("{}") == len(template[2].split(", "))
                assert "{" not in template[1].replace("{}", "")


def test_each_subnet_has_a_token_of_its_own() -> None:
    branch = build_definition(plan())["States"]["Build"]["Branches"][0]["States"]
    launches = [state for name, state in branch.items() if name.startswith("Launch")]
    tokens = [state["Parameters"]["ClientToken.$"] for state in launches]
    assert len(set(tokens)) == len(tokens) == 3
    assert ["Catch" in state for state in launches] == [True, True, False]
    # EC2 takes 64 characters: a request's identifier, a hyphen and a number.
    assert all(len(token) - len("States.Format('{}', $$.Execution.Name)") < 20 for token in tokens)


def test_nothing_in_it_is_null() -> None:
    """The AWS CDK drops such values, and what they say with them."""

    def check(value: Any) -> None:
        assert value is not None
        for each in value.values() if isinstance(value, dict) else value:
            if isinstance(each, (dict, list)) or each is None:
                check(each)

    for definition in DEFINITIONS.values():
        check(definition)
