"""The order of changes: a ledger that was replaced never returns."""

from hypothesis import given
from hypothesis import strategies as st

from services.predictor.order import Order


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1))
def test_a_ledger_that_was_replaced_never_returns(arrivals: list[tuple[str, int]]) -> None:
    order = Order()
    accepted = [arrival for arrival in arrivals if order.advance(*arrival)]
    assert accepted[0] == arrivals[0]
    ledgers = [ledger for ledger, _ in accepted]
    assert ledgers == sorted(ledgers, key=list(dict.fromkeys(ledgers)).index), "each ledger's changes are in one piece"
    for ledger in set(ledgers):
        generations = [generation for name, generation in accepted if name == ledger]
        assert generations == sorted(set(generations))
