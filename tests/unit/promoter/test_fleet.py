"""The fleet's view: the newest generation counts, who is silent is lost, and forgotten after a while."""

from services.promoter.fleet import LOST_S, Fleet
from shared.events import ModelRejected, ModelServing, PredictorAlive, ServedModel


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def serving(version: str, generation: int, worker: int = 0) -> ModelServing:
    return ModelServing(
        predictor="p", worker=worker, version=version, generation=generation, ledger="l",
        prefetched=True, load_ms=1, verify_ms=1, swap_ms=1, delay_ms=1,
    )  # fmt: skip


def test_an_older_generation_never_replaces_a_newer_one() -> None:
    fleet = Fleet(Clock())
    for event in (serving("2", 5), serving("1", 4), serving("1", 1, worker=1)):
        fleet.serving("m", event)
    assert [worker["models"]["m"] for worker in fleet.workers()] == [
        {"version": "2", "generation": 5, "loaded": True},
        {"version": "1", "generation": 1, "loaded": True},
    ]


def test_a_rejection_is_shown_until_something_newer_serves() -> None:
    fleet = Fleet(Clock())
    rejected = ModelRejected(
        predictor="p", worker=0, version="3", generation=6, ledger="l", check="golden", message="off"
    )
    fleet.rejected("m", rejected)
    (worker,) = fleet.workers()
    assert worker["rejected"] == {"m": {"version": "3", "generation": 6, "check": "golden", "message": "off"}}
    fleet.serving("m", serving("4", 7))
    assert fleet.workers()[0]["rejected"] == {}


def test_a_heartbeat_says_everything_and_silence_loses_it() -> None:
    clock = Clock()
    fleet = Fleet(clock, patience_s=5)
    fleet.serving("old", serving("1", 1))
    served = ServedModel(model="m", version="2", generation=3, loaded=False)
    fleet.alive(PredictorAlive(predictor="p", worker=0, models=[served], only=["m"], ttl_s=10))
    clock.now = 9.0
    assert fleet.workers() == [
        {
            "predictor": "p",
            "worker": 0,
            "state": "serving",
            "heard_s_ago": 9.0,
            "models": {"m": {"version": "2", "generation": 3, "loaded": False}},
            "rejected": {},
            "only": ["m"],
        }
    ]
    clock.now = 10.0
    (lost,) = fleet.workers()
    assert (lost["state"], lost["models"]) == ("lost", {"m": {"version": "2", "generation": 3, "loaded": False}})
    fleet.alive(PredictorAlive(predictor="p", worker=0, models=[], ttl_s=10))
    assert [worker["state"] for worker in fleet.workers()] == ["serving"]
    clock.now = 20.0 + LOST_S
    assert fleet.workers() == []
