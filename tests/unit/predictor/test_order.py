"""The order of changes: a ledger that was replaced never returns, whoever knows of it."""

from hypothesis import given
from hypothesis import strategies as st

from services.predictor.order import Order

arrivals = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1)


@given(arrivals)
def test_a_ledger_that_was_replaced_never_returns(arrivals: list[tuple[str, int]]) -> None:
    order = Order()
    accepted = [arrival for arrival in arrivals if order.advance(*arrival)]
    assert accepted[0] == arrivals[0]
    ledgers = [ledger for ledger, _ in accepted]
    assert ledgers == sorted(ledgers, key=list(dict.fromkeys(ledgers)).index), "each ledger's changes are in one piece"
    for ledger in set(ledgers):
        generations = [generation for name, generation in accepted if name == ledger]
        assert generations == sorted(set(generations))


@given(arrivals, st.sets(st.sampled_from("abc")))
def test_ledgers_that_others_know_to_be_replaced_are_no_news(
    arrivals: list[tuple[str, int]], replaced: set[str]
) -> None:
    order = Order(replaced)
    accepted = [arrival for arrival in arrivals if order.advance(*arrival)]
    alone = Order()
    assert accepted == [arrival for arrival in arrivals if arrival[0] not in replaced and alone.advance(*arrival)]
    assert order.replaced == alone.replaced | replaced
