"""A terminal for texts as they are: names of runs, workers and files are anybody's, and no markup of Rich's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(**given: Any) -> Console:  # noqa: ANN401 - Rich's own
    """As Rich's, where `[/x]` in a table is neither a tag nor an error, and `:bomb:` no picture."""
    from rich.console import Console  # noqa: PLC0415 - for those who draw

    return Console(markup=False, emoji=False, **given)
