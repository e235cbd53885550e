"""The command line. To add a command: one file in `commands/`, its name in COMMANDS.

Completion in the shell: `eval "$(_YOLOSCOPE_COMPLETE=bash_source yoloscope)"` in ~/.bashrc (zsh_source, fish_source).
"""

from __future__ import annotations

import difflib
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from yoloscope_exporter import __version__
from yoloscope_exporter.commands import spoken
from yoloscope_exporter.language import either, say, speaking
from yoloscope_exporter.service.signals import hear_children_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: In the order of the help. Each is a function in the file of its name, imported when asked for: `run` starts at once.
COMMANDS = (
    "serve",
    "check",
    "run",
    "tune",
    "bench",
    "top",
    "diagnose",
    "report",
    "stacks",
    "record",
    "notify",
    "bundle",
    "simulate",
    "demo",
)


def write_anything() -> None:
    """Let stdout and stderr take any text: Chinese in cp1252, a bar of blocks in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict":
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


class _UserError(click.ClickException):
    exit_code = 2


@contextmanager
def _one_line() -> Iterator[None]:
    """Make any error of click one line, with exit code 2."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = say(" (see {command} --help)", command=context.command_path) if context else ""
        raise _UserError(" ".join(spoken.told(error).split()).rstrip(".") + hint) from error


class Commands(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command `cmd_name`; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"yoloscope_exporter.commands.{cmd_name}"), cmd_name)
        return spoken.localized(spoken.with_language(command))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's
        """Be the command line in the language that is asked for; what the output's encoding lacks is written as `?`."""
        write_anything()
        hear_children_end()
        words = list(sys.argv[1:] if args is None else args)
        with speaking(spoken.chosen(words, os.environ)):
            return super().main(words, *rest, **extra)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> click.Context:
        """The context of the command line in that language."""
        here = spoken.localized(self)
        return super(Commands, here).make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's own options."""
        with _one_line():
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; of a misspelt one the nearest are told."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], COMMANDS, n=2)
            meant = say("; did you mean {close}?", close=either(close)) if close else ""
            ctx.fail(say("no such command {args!r}{meant}", args=args[0], meant=meant))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command, without colours under NO_COLOR."""
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        with _one_line():
            return super().invoke(ctx)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog='Completion for bash: eval "$(_YOLOSCOPE_COMPLETE=bash_source yoloscope)"; also zsh_source, fish_source.',
)
@click.version_option(__version__, prog_name="yoloscope")
def main() -> None:
    """A stethoscope for YOLO training: monitoring and bottleneck diagnosis for Ultralytics YOLO.

    \b
      yoloscope run -- yolo detect train data=coco128.yaml  run a training command with monitoring
      yoloscope serve                                       the exporter, http://127.0.0.1:9911/metrics
    """  # noqa: D301 - click reads the backslash


main.params.append(spoken.option())
spoken.teach_click()


if __name__ == "__main__":
    main(prog_name="yoloscope")
