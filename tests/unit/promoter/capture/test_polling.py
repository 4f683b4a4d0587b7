"""What polling makes of what it sees: a table of all that can have happened between two looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.promoter.capture.polling import Known, Sight, Step, next_step

versions = st.sampled_from(["1", "2", "3"])
champions = st.none() | versions
stages = st.sets(versions).map(sorted)


@pytest.mark.parametrize(
    ("champion", "production", "alias", "in_production", "step"),
    [
        (None, [], None, [], ("nothing", None)),
        ("1", ["1"], "1", ["1"], ("nothing", None)),
        (None, [], "1", [], ("record", "1")),
        ("1", ["1"], "2", ["1"], ("record", "2")),
        ("1", ["1"], None, ["1"], ("record", None)),
        ("1", ["1"], "2", ["3"], ("record", "2")),  # both moved: the alias counts
        ("2", ["1"], "2", ["1"], ("mirror", "2")),  # recorded, and stages not in step yet
        ("1", ["1"], "1", ["2"], ("follow", "2")),
        ("1", ["1"], "1", ["1", "2", "3"], ("follow", "3")),
        ("1", ["1"], "1", [], ("mirror", "1")),  # somebody archived the champion
        ("2", ["1"], "2", ["2"], ("note", None)),
        (None, [], None, ["1"], ("follow", "1")),
        (None, ["1"], None, ["1"], ("nothing", None)),  # its alias was deleted, its stage stayed
        (None, ["1"], None, [], ("note", None)),
    ],
)
def test_one_step(
    champion: str | None,
    production: list[str],
    alias: str | None,
    in_production: list[str],
    step: tuple[Step, str | None],
) -> None:
    assert next_step(Known(champion, 1, frozenset(production)), Sight(alias, tuple(in_production))) == step


@given(champions, stages, champions, stages)
def test_steps_end_with_everything_in_step(
    champion: str | None, production: list[str], alias: str | None, in_production: list[str]
) -> None:
    known, sight = Known(champion, 1, frozenset(production)), Sight(alias, tuple(in_production))
    for _ in range(5):
        step, version = next_step(known, sight)
        if step == "record":
            known = Known(version, known.generation + 1, frozenset(sight.production))
        elif step == "follow":
            known, sight = (
                Known(version, known.generation + 1, frozenset(sight.production)),
                Sight(version, sight.production),
            )
        elif step == "mirror":
            sight = Sight(sight.champion, (str(version),))
        elif step == "note":
            known = Known(known.champion, known.generation, frozenset(sight.production))
        else:
            break
    else:
        pytest.fail("it never comes to rest")
    assert known.champion == sight.champion
    assert known.champion is None or sight.production == (known.champion,)
    assert alias in {champion, known.champion}, "an alias that moved is never overruled"
