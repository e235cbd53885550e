"""Somebody else's text in Markdown: names of runs and files, messages of exceptions are anybody's. Pure."""

from __future__ import annotations

import re

_OF_NAMES = re.compile(r"[\\`*<>\[\]|]")
_OF_WORDS = re.compile(r"[\\<\[|]")


def name(text: str) -> str:
    """A name as it is, whatever letters it has: no tag, link, picture or column begins in it."""
    return _OF_NAMES.sub(r"\\\g<0>", text)


def words(text: str) -> str:
    """A sentence of ours with names in it; what it has in backticks stays code."""
    return _OF_WORDS.sub(r"\\\g<0>", text)


def typed(text: str) -> str:
    """What is typed, to stand between backticks."""
    return text.replace("`", "'")
