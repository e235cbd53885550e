"""What came of real trainings, by name: a file beside the script that runs them, and a table of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tests.benchmarks import page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Outcome = TypeVar("Outcome", bound=Any)  # a dataclass with `others`: CPUs that others used meanwhile


@dataclass(frozen=True)
class Results(Generic[Outcome]):
    """Outcomes of what a script can run.

    Attributes:
        entries: what can be run, by name.
        kind: the class of an outcome.
        file: where they are kept.
        mark: of the table's place in the document.
    """

    entries: Mapping[str, Any]
    kind: type[Outcome]
    file: Path
    mark: str

    def known(self) -> dict[str, Outcome]:
        """Those that were run, in the order of the entries."""
        content = json.loads(self.file.read_text()) if self.file.exists() else {}
        return {name: self.kind(**content[name]) for name in self.entries if name in content}

    def main(
        self,
        description: str,
        run: Callable[[str, float], Outcome],
        said: Callable[[Outcome], str],
        table: Callable[[Mapping[str, Outcome]], str],
        *,
        seconds: float,
        most: float,
    ) -> None:
        """Run what was named, one after the other, and write what came of it; the others keep what they had."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("names", nargs="*", choices=[[], *self.entries], metavar="NAME")
        parser.add_argument("--seconds", type=float, default=seconds, help="how long each training is watched")
        parser.add_argument("--most", type=float, default=most, help="drop what others used more CPUs beside than that")
        parser.add_argument("--table", action="store_true", help="only write the table")
        arguments = parser.parse_args()
        for name in () if arguments.table else arguments.names or self.entries:
            print(name, flush=True)
            try:
                outcome = run(name, arguments.seconds)
            except ValueError as error:
                print(f"{name}: {error}", flush=True)
                continue
            dropped = outcome.others > arguments.most
            others = f"others used {outcome.others:.1f} CPUs{', dropped' * dropped}"
            print(f"{name}: {said(outcome)}, {others}", flush=True)
            if not dropped:
                self._keep({**self.known(), name: outcome})
        document = page.PAGE.read_text(encoding="utf-8")
        page.PAGE.write_text(page.between(document, self.mark, table(self.known())), encoding="utf-8")

    def _keep(self, outcomes: Mapping[str, Outcome]) -> None:
        content = {name: asdict(outcome) for name, outcome in outcomes.items()}
        self.file.write_text(json.dumps(content, indent=1) + "\n")
