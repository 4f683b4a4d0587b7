"""Which versions a cleanup deletes: the old ones that nobody needs, whatever there is."""

from hypothesis import given
from hypothesis import strategies as st

from services.promoter.cleanup import plan
from shared.events import BundleRef
from shared.versions import Version


def version(number: int, digest: str = "sha256:0a") -> Version:
    return Version("m", str(number), f"run {number}", "None", BundleRef(object="o", digest=digest, size=1))


@given(st.integers(0, 12), st.integers(1, 12), st.sets(st.integers(1, 12)))
def test_the_newest_and_the_needed_stay_and_all_others_go(count: int, keep: int, needed: set[int]) -> None:
    versions = [version(number) for number in range(1, count + 1)]
    found = plan("m", versions, keep, {str(number): "is needed" for number in needed})
    gone = {int(deleted.version) for deleted in found.deleted}
    old = set(range(1, count + 1 - keep))
    assert gone == old - needed
    assert {int(number) for number in found.kept} == old & needed


def test_the_sentence_names_what_went_and_what_stayed_why() -> None:
    found = plan("m", [version(number) for number in (1, 2, 3)], 1, {"2": "is champion"})
    assert found.sentence == "deleted 1 versions of m (1); kept 2 (is champion)"
    assert plan("m", [version(1)], 1, {}).sentence == "nothing to delete"


def test_a_tag_that_somebody_made_up_names_no_bundle() -> None:
    forged = version(1, digest="sha256:%' OR '")
    assert plan("m", [forged, version(2)], 1, {}).deleted[0].bundle is None
