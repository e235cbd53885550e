"""Options that several commands have."""

from __future__ import annotations

import pytest
from yoloscope_exporter.commands.options import of_the_locale


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "zh_TW"}, "zh-CN"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh-CN"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh-CN"),
    ],
)
def test_language_of_the_locale(environ: dict[str, str], language: str) -> None:
    """By the variables' order of precedence in POSIX; an empty one is none."""
    assert of_the_locale(environ) == language
