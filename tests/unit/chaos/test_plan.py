"""The plan of a run is what its seed says."""

from collections import Counter

from shared.faults import POINTS
from tests.chaos.plan import WEIGHTS, make_plan


def test_the_same_seed_plans_the_same() -> None:
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)


def test_a_plan_has_as_many_kills_as_asked_for_in_order_of_time() -> None:
    plan = make_plan(1, 60)
    assert Counter(step.act for step in plan) == {"kill": 30, "ambush": 30, "stop": 15}
    assert [step.at_s for step in plan] == sorted(step.at_s for step in plan)


def test_over_some_seeds_every_part_and_every_point_is_hit() -> None:
    plans = [step for seed in range(10) for step in make_plan(seed, 60)]
    assert {step.target for step in plans if step.act == "kill"} == set(WEIGHTS)
    assert {step.target for step in plans if step.act == "ambush"} == set(POINTS)
