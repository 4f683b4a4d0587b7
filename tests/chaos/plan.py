"""The plan of a run: what is done to whom and when, the same for the same seed."""

import random
from dataclasses import dataclass
from typing import Literal

from shared.faults import POINTS

PACE_S = 2.0
SHORTEST_S = 20.0
# How often each part is a target. MLflow takes ten seconds to come back, the promoters are what is tried most.
WEIGHTS = {"promoter-1": 2, "promoter-2": 2, "trainer": 2, "predictor": 3, "nats": 3, "postgres": 2, "mlflow": 1}
WITH_CHILDREN = {"trainer", "predictor", "postgres"}  # half of the time one of their children is the target
STOPS_S = (1.0, 4.0)
LONG_STOP_S = 18.0  # longer than a promoter's turn and than the wait for an acknowledgement
LONG_STOPS = ("promoter-1", "promoter-2", "trainer")
POINT_WEIGHTS = {"promoter": 3, "relay": 3, "trainer": 2, "predictor": 1}  # by the word before the dot


@dataclass(frozen=True)
class Step:
    """One act, `at_s` seconds after the havoc began: kill or stop a part, or lie in wait at a fault point.

    `otherwise` is the part that is killed when nobody comes by there.
    """

    at_s: float
    act: Literal["kill", "stop", "ambush"]
    target: str
    in_child: bool = False
    seconds: float = 0.0
    otherwise: str = ""


def make_plan(seed: int, kills: int) -> list[Step]:
    """Return the kills asked for, half of them at fault points, and a quarter as many stops, in order of time."""
    chance = random.Random(seed)
    lasts_s = max(SHORTEST_S, kills * PACE_S)
    killed = [_kill(chance, lasts_s) for _ in range(kills - kills // 2)]
    ambushed = [_ambush(chance, lasts_s) for _ in range(kills // 2)]
    stopped = [_stop(chance, lasts_s) for _ in range(kills // 4)]
    return sorted(killed + ambushed + stopped, key=lambda step: step.at_s)


def _part(chance: random.Random) -> str:
    return chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def _kill(chance: random.Random, lasts_s: float) -> Step:
    part = _part(chance)
    in_child = part in WITH_CHILDREN and chance.random() < 0.5
    return Step(chance.uniform(0, lasts_s), "kill", part, in_child=in_child)


def _stop(chance: random.Random, lasts_s: float) -> Step:
    part = _part(chance)
    seconds = LONG_STOP_S if part in LONG_STOPS and chance.random() < 0.25 else chance.uniform(*STOPS_S)
    return Step(chance.uniform(0, lasts_s), "stop", part, seconds=seconds)


def _ambush(chance: random.Random, lasts_s: float) -> Step:
    return Step(chance.uniform(0, lasts_s), "ambush", _point(chance), otherwise=_part(chance))


def _point(chance: random.Random) -> str:
    weights = [POINT_WEIGHTS[name.partition(".")[0]] for name in POINTS]
    return chance.choices(list(POINTS), weights)[0]
