"""Looks texts up in the catalogue: by their template, or, of finished English, by the template that it fits."""

from __future__ import annotations

import re
from functools import cache
from string import Formatter
from typing import TYPE_CHECKING

from yoloscope_exporter.language import BETWEEN, Text, filled, spoken_also
from yoloscope_exporter.language.zh_cn import RECOGNISED, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

#: English punctuation between clauses -> Chinese.
_PUNCTUATION = {"; ": "\uff1b", ", ": "\uff0c", ": ": "\uff1a", " (": "\uff08", ")": "\uff09"}
_PLACEHOLDER = re.compile(r"(?<!\{)(\{[^{}]+(?:\{[^{}]*\}[^{}]*)*\})(?!\})")
#: What `joined` makes of names and numbers.
_LIST = re.compile(r"\{_\d+\}(, \{_\d+\})+")
#: Characters of a text and of a clause that are recognised, and clauses within clauses: what an exporter tells is
#: anybody's, and a clause takes the square of its length.
MOST_TOLD, MOST_RECOGNISED, MOST_NESTED = 4000, 500, 8
#: `workers=12 cache=ram`, which is typed in any language.
_ARGUMENTS = re.compile(r"\w+=\S*(?: \w+=\S*)*")


def translated(told: str) -> str:
    """In Chinese, as far as it is known; a plain string only if all of it is known, for it may be said already."""
    return _filled(told) if isinstance(told, Text) else _plain(told)


def is_known(told: str) -> bool:
    """Whether finished English needs no translation or has one."""
    return bool(_ARGUMENTS.fullmatch(told)) or _known(told) is not None or _found(told) is not None


def _known(key: str) -> str | None:
    return spoken_also().get(key) or TEXTS.get(key)


def _plain(told: str) -> str:
    """The translation as a whole, else of its clauses if each has one."""
    if whole := _known(told):
        return whole
    clauses = [_known(clause) for clause in told.split(BETWEEN)]
    return "\uff1b".join(filter(None, clauses)) if all(clauses) else told


def _filled(told: Text) -> str:
    if told.chinese:
        return told.chinese
    if not told.values:
        return _recognised(told) if len(told) <= MOST_TOLD else told
    names = _LIST.fullmatch(told.key) and not any(isinstance(value, Text) for value in told.values.values())
    template = told.key.replace(", ", "\u3001") if names else template_of(told.key)
    return filled(template, {name: _value(value) for name, value in told.values.items()})


def _value(value: object) -> object:
    """A value as it is shown; what makes a text of itself, as an error does, is translated too."""
    if isinstance(value, (str, int, float)):
        return translated(value) if isinstance(value, Text) else value
    shown = str(value)
    return translated(shown) if isinstance(shown, Text) else value


def template_of(key: str) -> str:
    """The Chinese template for an English one: as a whole, else clause by clause, else with Chinese punctuation."""
    if whole := _known(key):
        return whole
    if BETWEEN in key:
        return "\uff1b".join(template_of(clause) for clause in key.split(BETWEEN))
    parts = _PLACEHOLDER.split(key)
    if has_words("".join(parts[::2])):
        return key
    return "".join(part if number % 2 else _punctuated(part) for number, part in enumerate(parts))


def has_words(fixed: str) -> bool:
    """Whether what is between placeholders is more than punctuation and units."""
    return re.search(r"[A-Za-z]{2}", fixed) is not None


def _punctuated(fixed: str) -> str:
    for english, chinese in _PUNCTUATION.items():
        fixed = fixed.replace(english, chinese)
    return fixed


def placeholders(template: str) -> list[str]:
    """The names that a template fills in, those within formats included."""
    return sorted(_names(template))


def _names(template: str) -> Iterator[str]:
    for _, name, spec, _ in Formatter().parse(template):
        if name is not None:
            yield name
            yield from _names(spec or "")


# --- finished English -------------------------------------------------------------------------------------------------


def _recognised(told: str, depth: int = 0) -> str:
    """The translation of what is a text as a whole, else clause by clause."""
    if whole := _known(told):
        return whole
    return "\uff1b".join(_clause(clause, depth + 1) for clause in told.split(BETWEEN))


def _clause(told: str, depth: int) -> str:
    name, colon, rest = told.partition(": ")
    if whole := _known(told):
        return whole
    if depth > MOST_NESTED:
        return told
    if not _known(rest) and (found := _found(told)):
        chinese, values = found
        return _PLACEHOLDER.sub(lambda place: _prose(values[_name(place[1])], depth), chinese)
    known = _recognised(rest, depth) if colon else rest
    return f"{name}\uff1a{known}" if known != rest else told


def _prose(value: str, depth: int) -> str:
    """A value that is a text itself; a single word is a name."""
    return _recognised(value, depth) if " " in value else value


def _found(told: str) -> tuple[str, dict[str, str]] | None:
    """The Chinese template with its values, of the pattern that says the most."""
    if len(told) > MOST_RECOGNISED:
        return None
    for pattern, chinese in _patterns():
        if match := pattern.fullmatch(told):
            return chinese, match.groupdict()
    return None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    longest = sorted((item for item in RECOGNISED.items() if "{" in item[0]), key=lambda one: -len(_fixed(one[0])))
    return tuple((_pattern(english), chinese) for english, chinese in longest if has_words(_fixed(english)))


def _fixed(template: str) -> str:
    return "".join(_PLACEHOLDER.split(template)[::2])


def _pattern(english: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(english)
    seen: set[str] = set()
    written = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            written += re.escape(part.replace("{{", "{").replace("}}", "}"))
            continue
        name = _name(part)
        written += f"(?P={name})" if name in seen else f"(?P<{name}>.*?)"
        seen.add(name)
    return re.compile(written, re.DOTALL)


def _name(placeholder: str) -> str:
    return re.split(r"[!:]", placeholder[1:-1], maxsplit=1)[0]
