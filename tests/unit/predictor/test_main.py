"""What the process that starts the workers gives them."""

import pytest

from services.predictor.__main__ import with_large_pages


@pytest.mark.parametrize(
    ("tunables", "given"),
    [
        ("", "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=1", "glibc.malloc.check=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
    ],
)
def test_large_pages_are_asked_for_unless_something_is_said_of_them(tunables: str, given: str) -> None:
    assert with_large_pages(tunables) == given
