"""Reading damaged `meta.yaml` files: what can be trusted is kept, and no code runs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.migrate.meta import Unreadable, parse_meta

NUMPY = """start_time: !!python/object/apply:numpy.core.multiarray.scalar
- !!python/object/apply:numpy.dtype
  args: [i8, false, true]
  state: !!python/tuple [3, <, null, null, null, -1, -1, 0]
- !!binary |
  0g7OFUsBAAA=
"""


@pytest.mark.parametrize(
    ("text", "values", "problem"),
    [
        ("a: 1\nb: x\n", {"a": 1, "b": "x"}, ""),
        ("a: 1\nb: 123", {"a": 1}, "truncated"),
        ("", {}, "empty"),
        ("\0\0\0", {}, "empty"),
        ("- 1\n", {}, "holds a list"),
        ("a: 1\nb: [\n", {"a": 1}, "not valid"),
        (NUMPY, {"start_time": 1_422_000_000_722}, "Python objects"),
        ("a: !!python/object/apply:m.E [deleted]\n", {"a": "deleted"}, "Python objects"),
        ("a: !!python/tuple [1, 2]\n", {"a": [1, 2]}, "Python objects"),
        ("a: !!python/unicode 'x'\n", {"a": "x"}, "Python objects"),
    ],
)
def test_what_can_be_trusted_is_kept(text: str, values: dict[str, object], problem: str) -> None:
    meta = parse_meta(text.encode())
    assert meta.values == values
    assert problem in "; ".join(meta.problems)


@pytest.mark.parametrize("call", ["os.system", "subprocess.check_call", "builtins.eval"])
def test_no_code_runs(call: str, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    meta = parse_meta(f"a: !!python/object/apply:{call} ['touch {proof}']\n".encode())
    assert not proof.exists()
    assert isinstance(meta.values["a"], str | Unreadable)


@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    parse_meta(raw)
    parse_meta(b"a: " + raw + b"\n")


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    parse_meta(text.encode(errors="replace") + b"\n")
