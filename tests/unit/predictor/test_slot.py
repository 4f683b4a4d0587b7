"""The slot: whatever the order of arrival, it ends at the newest change and never goes back."""

from datetime import UTC, datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.predictor.slot import Champion, Slot, Slots
from shared.errors import AmbiguousModelError, NoChampionError, UnknownModelError
from shared.verification import VerifiedModel

NO_MODEL = cast("VerifiedModel", None)


def champion(generation: int, ledger: str = "l", model: str = "m") -> Champion:
    return Champion(model, str(generation), generation, ledger, "sha256:1", NO_MODEL, datetime.now(UTC))


changes = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1)


@given(changes)
def test_any_order_of_generations_ends_at_the_highest(arrivals: list[tuple[int, bool]]) -> None:
    slot = Slot("m")
    seen = [-1]
    for generation, withdrawn in arrivals:
        applied = slot.withdraw("l", generation) if withdrawn else slot.swap(champion(generation))
        assert applied == (generation > max(seen))
        seen.append(generation)
        newest_withdrawn = next(gone for number, gone in arrivals if number == max(seen))
        assert slot.champion is None if newest_withdrawn else slot.champion is not None
        if slot.champion:
            assert slot.champion.generation == max(seen)


def test_a_new_ledger_replaces_whatever_its_generation() -> None:
    slot = Slot("m")
    assert slot.swap(champion(9, "old"))
    assert slot.swap(champion(1, "new"))
    assert not slot.withdraw("old", 10)
    assert slot.champion is not None
    assert slot.champion.ledger == "new"


def test_who_answers() -> None:
    slots = Slots()
    with pytest.raises(NoChampionError, match="baton train"):
        slots.default()
    with pytest.raises(UnknownModelError, match=r"'a'.*known: none"):
        slots.champion("a")
    slots.of("a")
    for ask in (slots.default, lambda: slots.champion("a")):
        with pytest.raises(NoChampionError, match="a has no champion"):
            ask()
    slots.of("a").swap(champion(1, model="a"))
    assert slots.default() is slots.champion("a")
    slots.of("b")
    assert slots.default().model == "a", "a model without champion does not make the request ambiguous"
    slots.of("b").swap(champion(1, model="b"))
    with pytest.raises(AmbiguousModelError, match="a, b"):
        slots.default()
    assert [served.model for served in slots.champions] == slots.models == ["a", "b"]


def test_the_default_model_is_meant_whatever_else_is_served() -> None:
    slots = Slots("wanted")
    slots.of("other").swap(champion(1, model="other"))
    with pytest.raises(UnknownModelError, match="wanted"):
        slots.default()
    slots.of("wanted").swap(champion(1, model="wanted"))
    assert slots.default().model == "wanted"
