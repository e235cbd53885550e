"""Help and errors of the command line in the language of whoever asks: click's own texts too.

Nothing here costs anything in English.
"""

from __future__ import annotations

import re
import unicodedata
from copy import copy
from typing import TYPE_CHECKING, TypeVar

import click

from yoloscope_exporter.language import ENGLISH, LANGUAGES, VARIABLE, Text, finished, of_the_environment, say, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Spoken = TypeVar("Spoken", bound=click.Command)
#: click looks its own texts up under these names.
_CLICKS = ("core", "decorators", "exceptions", "formatting", "parser", "termui", "types")
#: Wide characters, and punctuation that no line begins with, or ends with.
_WIDE = "\u2e80-\u9fff\uff00-\uffef\u3000-\u303f"
_CLOSING = "\uff0c\u3002\uff1b\uff1a\uff01\uff1f\uff09\u300b\u300d\u3011\u3015\u3001\u201d\u2019"
_OPENING = "\uff08\u300a\u300c\u3010\u3014\u201c\u2018"
#: What is kept together when a line is wrapped: a word, or a wide character with the punctuation behind it.
_PIECE = re.compile(f"[ \\n]+|[{_OPENING}]?(?:[^\\s{_WIDE}]+|\\S)[{_CLOSING}]*")


def chosen(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The language of `--language` among a command line's arguments, else that of the environment."""
    for number, word in enumerate(arguments):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name == "--language":
            value = value if equals else "".join(arguments[number + 1 : number + 2])
            if value in LANGUAGES:
                return value
    return of_the_environment(environ)


def option() -> click.Option:
    """`--language`, which every command has; `chosen` reads it."""
    return click.Option(
        ["--language"],
        type=click.Choice(LANGUAGES),
        expose_value=False,
        help=f"Language of help, output and errors.  [default: {VARIABLE}, else zh-CN in a Chinese locale, else en]",
    )


def with_language(command: Spoken) -> Spoken:
    """The same command with `--language`, if it has none of its own."""
    found = copy(command)
    found._help_option = None  # noqa: SLF001 - click keeps that of who called the command first, perhaps without -h
    if not any(parameter.name == "language" for parameter in command.params):
        found.params = [*command.params, option()]
    return found


def told(error: click.ClickException) -> str:
    """What click would show of an error."""
    if isinstance(error.message, Text):
        error.message = say(error.message)  # type: ignore[misc]  # click has no other way to say it
    return error.format_message()


def localized(command: Spoken) -> Spoken:
    """The same command with its help as it is said now."""
    if spoken() == ENGLISH:
        return command
    found = copy(command)
    found.params = [_localized(parameter) for parameter in command.params]
    found.help = "\n\n".join(_paragraphs(command.help)) if command.help else None
    found.short_help = say(command.short_help) if command.short_help else None
    found.epilog = say(command.epilog) if command.epilog else None
    found.context_class = _Context
    found._help_option = None  # noqa: SLF001 - it may have been made in English
    return found


def _localized(parameter: click.Parameter) -> click.Parameter:
    found = copy(parameter)
    if isinstance(found, click.Option):
        found.help = say(finished(unfolded(found.help))) if found.help else None
        if isinstance(found.show_default, str):
            found.show_default = say(found.show_default)
    return found


def _paragraphs(text: str) -> Iterator[str]:
    r"""Those of a help text; what stands behind \b is laid out already."""
    return (say(part) if part.startswith("\b") else say(unfolded(part)) for part in paragraphs(text))


def paragraphs(text: str) -> list[str]:
    """A help text's paragraphs, without the indentation of the source."""
    import inspect  # noqa: PLC0415 - for help in another language

    return [part.strip("\n") for part in re.split(r"\n\n+", inspect.cleandoc(text).partition("\f")[0])]


def unfolded(text: str | None) -> str:
    """A paragraph as one line."""
    return " ".join((text or "").split())


def teach_click() -> None:
    """Let click look its own texts up in the catalogue, in the language that is spoken when it does."""
    for name in _CLICKS:
        module = getattr(click, name, None)
        if module is None:
            continue
        for one in ("_", "gettext"):
            if hasattr(module, one):
                setattr(module, one, say)
        if hasattr(module, "ngettext"):
            module.ngettext = lambda one, many, number: say(one if number == 1 else many)


# --- lines of wide characters -----------------------------------------------------------------------------------------


class _Formatter(click.HelpFormatter):
    """Wraps by the cells of a terminal, of which a Chinese character takes two."""

    def write_heading(self, heading: str) -> None:
        """With the colon of the language."""
        self.write(f"{'':>{self.current_indent}}{say('{heading}:', heading=heading)}\n")

    def write_text(self, text: str) -> None:
        """A paragraph, or several."""
        indent = " " * self.current_indent
        room = max(self.width - self.current_indent, 11)
        for number, part in enumerate(text.split("\n\n")):
            self.write("\n" if number else "")
            lines = part.removeprefix("\b\n").split("\n") if part.startswith("\b") else wrapped(part, room)
            self.write("".join(f"{indent}{line}\n" for line in lines))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands, with what they do."""
        pairs = list(rows)
        first = min(max((len(name) for name, _ in pairs), default=0), col_max) + col_spacing
        room = max(self.width - first - self.current_indent, 10)
        for name, told in pairs:
            lines = wrapped(told, room)
            head = f"{'':>{self.current_indent}}{name}"
            apart = len(name) > first - col_spacing
            self.write(f"{head}\n" if apart or not lines else f"{head:<{first + self.current_indent}}{lines.pop(0)}\n")
            self.write("".join(f"{'':>{first + self.current_indent}}{line}\n" for line in lines))


class _Context(click.Context):
    formatter_class = _Formatter


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` cells; a longer word has a line of its own."""
    lines, line = [], ""
    for piece in _PIECE.findall(unfolded(text)):
        if line and width(line + piece.rstrip()) > room:
            lines.append(line.rstrip())
            line = ""
        line += piece if line or piece.strip() else ""
    return [*lines, line.rstrip()] if line.strip() else lines


def width(text: str) -> int:
    """Cells of a terminal."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
