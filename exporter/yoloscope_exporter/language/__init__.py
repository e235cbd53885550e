"""Texts for people, in English and in other languages.

English stands in the code, as a template with named placeholders; a catalogue has its translations
(`language/zh_cn`). `text` makes a text that is English to everything that takes a string, and can be told in another
language later: evidence, causes, fixes. `say` tells a text now, in the language of whoever asked (`speaking`).

What comes as finished English, as labels of a metric, the JSON of an exporter or a recording, is recognised by the
templates of the diagnosis.

JSON, names of metrics and verdicts, arguments and paths are English in any language.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from string import Formatter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Self

ENGLISH: Final = "en"
CHINESE: Final = "zh-CN"
LANGUAGES: Final = (ENGLISH, CHINESE)
#: By how the names of a language begin, whatever the region.
LANGUAGE_OF: Final = {"en": ENGLISH, "zh": CHINESE}
VARIABLE: Final = "YOLOSCOPE_LANGUAGE"
#: What each language is called in itself.
NAMES: Final = {ENGLISH: "English", CHINESE: "中文"}
#: What stands between two clauses of a text; each may have its own translation.
BETWEEN: Final = "; "

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_also: ContextVar[Mapping[str, str]] = ContextVar("also", default=_NOTHING)


class Text(str):
    """English that knows its template and values, so that it can be told in other languages.

    Formatting it into another string leaves plain English; `text`, `joined` and `+` keep what it knows.
    """

    __slots__ = ("chinese", "key", "template", "values")

    template: str
    values: Mapping[str, Any]
    key: str
    """By which the catalogue knows it: the template, in the singular where that has a number."""
    chinese: str
    """What it is in Chinese, where somebody has told that beside it."""

    def __new__(cls, template: str, values: Mapping[str, Any] | None = None, key: str = "", chinese: str = "") -> Self:
        """Fill in the values; without any the template is the text."""
        made = super().__new__(cls, template if values is None else filled(template, values))
        made.template, made.values, made.key, made.chinese = template, values or {}, key or template, chinese
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, Any], str, str]:  # type: ignore[override]
        """For copies."""
        return self.template, self.values, self.key, self.chinese

    def __str__(self) -> Text:
        """Itself: `str()` forgets nothing."""
        return self

    def __add__(self, other: str) -> Text:
        """Both, one after the other."""
        return joined((self, other), "")

    def __radd__(self, other: str) -> Text:
        """The same."""
        return joined((other, self), "")


def in_figures(number: float, figures: int) -> str:
    """A number with so many figures, a larger one without a fraction: `0.123`, `12.3`, `1234` and never `1.23e+03`."""
    return f"{number:.0f}" if abs(number) >= 10**figures - 0.5 else f"{number:.{figures}g}"


class _Figures(Formatter):
    """Writes numbers whose format is `.3g`, or has other digits, as `in_figures` does."""

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - the base class's
        figures = format_spec[1:-1]
        if isinstance(value, float | int) and format_spec == f".{figures}g" and figures.isdecimal():
            return in_figures(value, int(figures))
        return format(value, format_spec)


_FIGURES: Final = _Figures()


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template of `str.format` with its values; numbers have as many figures as it says, and no exponents."""
    return _FIGURES.vformat(template, (), values) if "g}" in template else template.format_map(values)


def text(template: str, /, **values: object) -> Text:
    """An English text, for people of any language; `template` as of `str.format`, with named placeholders.

    Without values braces stand for themselves.
    """
    return Text(template, values or None)


def finished(english: str, chinese: str = "") -> Text:
    """English that comes as it is told; without its Chinese it is recognised by the templates of the catalogue."""
    return english if isinstance(english, Text) else Text(english, chinese=chinese)


def plural(number: float, one: str, many: str, /, **values: object) -> Text:
    """The text with `{number}`: `one` where it is 1, else `many`; translated as `one` is."""
    return Text(one if number == 1 else many, {"number": number, **values}, one)


def joined(parts: Iterable[str], between: str = BETWEEN) -> Text:
    """Those that are not empty, with punctuation between them."""
    told = [part for part in parts if part]
    names = [f"_{number}" for number in range(len(told))]
    return Text(between.join(f"{{{name}}}" for name in names), dict(zip(names, told, strict=True)))


def either(names: Iterable[str]) -> str:
    """`one or other or third`."""
    return reduce(lambda one, other: text("{one} or {other}", one=one, other=other), names)


def reason(error: BaseException) -> Text:
    """Why something failed, as the system or whoever raised it says."""
    return finished(getattr(error, "strerror", None) or str(error))


def spoken() -> str:
    """The language that is spoken now."""
    return _spoken.get()


def spoken_also() -> Mapping[str, str]:
    """The translations beside those that every program has."""
    return _also.get()


@contextmanager
def speaking(language: str, also: Mapping[str, str] = _NOTHING) -> Iterator[None]:
    """Speak another language meanwhile, `also` with the translations that only generated files need.

    A thread that is started speaks English until it says otherwise.
    """
    spoken, more = _spoken.set(language), _also.set(also)
    try:
        yield
    finally:
        _also.reset(more)
        _spoken.reset(spoken)


def say(template: str, /, **values: object) -> str:
    """A text as it is said now; values that are texts themselves, too."""
    if _spoken.get() == ENGLISH:
        return filled(template, values) if values else template
    return translated(Text(template, values) if values else template, _spoken.get())


def paragraphs(page: str) -> list[str]:
    """Those of a page, each with a translation of its own."""
    return page.strip().split("\n\n")


def say_page(page: str, /, **values: object) -> str:
    """A page of several paragraphs as it is said now. What has no translation, as code, is as it stands."""
    return "\n\n".join(say(paragraph, **values) for paragraph in paragraphs(page)) + "\n"


def translated(told: str, language: str) -> str:
    """A text in a language; in English where there is no translation."""
    if language == ENGLISH or not told:
        return told
    from yoloscope_exporter.language import translation  # noqa: PLC0415 - the catalogue is for who needs it

    return translation.translated(told)


def preferred(names: str) -> str:
    """The first language of those that a browser names (Accept-Language: `zh-TW, en;q=0.5`), else English."""
    found = (LANGUAGE_OF.get(name.strip()[:2].lower()) for name in names.split(","))
    return next(filter(None, found), ENGLISH)


def of_the_environment(environ: Mapping[str, str]) -> str:
    """The language of YOLOSCOPE_LANGUAGE, else that of the locale."""
    names = (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((environ[name] for name in names if environ.get(name)), "")
    return preferred(wanted)
