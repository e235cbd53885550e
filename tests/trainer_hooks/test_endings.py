"""What is kept of the exception that ends a training."""

from __future__ import annotations

import json

import pytest
from yoloscope_hooks.endings import facts_of
from yoloscope_record.file_format import MAX_LABEL_LENGTH


def caught(function: object) -> BaseException:
    """What a call raises."""
    with pytest.raises(BaseException) as info:  # noqa: PT011 - whatever it is
        function()  # type: ignore[operator]
    return info.value


def parse() -> None:
    json.loads("{")


def test_type_message_and_calls() -> None:
    """The last call of the user's own, and the last of all."""
    facts = facts_of(caught(parse))
    assert facts["exception"] == "JSONDecodeError"
    assert facts["exception_message"].startswith("Expecting property name enclosed in double quotes")
    assert facts["exception_own"].startswith(f"parse ({__file__}:")
    assert facts["exception_at"].startswith("raw_decode (")
    assert "json" in facts["exception_at"]


def test_of_a_long_message_first_and_last_line() -> None:
    """Torch ends with what happened in a worker."""
    text = "Caught ValueError in DataLoader worker process 0.\n" + "x\n" * 1000 + "ValueError: 图片 is broken\n\n"
    facts = facts_of(ValueError(text))
    assert (
        facts["exception_message"] == "Caught ValueError in DataLoader worker process 0. … ValueError: 图片 is broken"
    )
    for message in ("x" * 9999, "x" * 9999 + "\n" + "y" * 9999, "\n\n", ""):
        assert len(facts_of(ValueError(message))["exception_message"]) <= MAX_LABEL_LENGTH


def test_an_exception_that_cannot_be_told() -> None:
    """Its type is left."""

    class Odd(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert facts_of(Odd()) == {"exception": "Odd"}


def test_a_deep_path_keeps_its_end() -> None:
    """And the line."""
    for name in ("f", "f" * 300):
        code = compile(f"def {name}(): raise ValueError\n{name}()", "/" + "d/" * 500 + "end.py", "exec")
        facts = facts_of(caught(lambda code=code: exec(code, {})))
        assert facts["exception_at"].endswith("d/end.py:1)")
        assert len(facts["exception_at"]) <= MAX_LABEL_LENGTH
