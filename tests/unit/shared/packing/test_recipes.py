"""The benchmark of the answers, at a smaller size: what recipes make is compiled, and answers as scikit-learn does."""

import pytest

from benchmarks.agreement import measure


@pytest.mark.timeout(180)
def test_every_recipe_is_compiled_and_answers_as_scikit_learn_does() -> None:
    packed = list(measure(perturbed_rows=500))
    assert len(packed) == 11
    assert {each.runtime for each in packed} == {"onnx"}, [each.reason for each in packed]
    assert [each.found.fault for each in packed] == [None] * 11
    assert max(each.found.largest for each in packed) < 1e-12
