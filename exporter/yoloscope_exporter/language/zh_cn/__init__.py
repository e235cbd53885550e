"""Chinese: every text that people are told, by the English one; a file for each kind.

What only generated files say (`documents`, `alerts`, `dashboards`) is loaded by who writes them, and by no exporter.

A key is the English template as it stands in the source; of a text of several clauses (`; ` between them) a clause may
stand for itself. tests/exporter/language finds what is missing, and what nobody says any more.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from yoloscope_exporter.language.zh_cn import commands, diagnosis, measures, notebook, output, page

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What programs say, by kind: each text stands in one of them.
FILES: Final = (commands, diagnosis, measures, notebook, output, page)
TEXTS: Final[Mapping[str, str]] = MappingProxyType({key: told for file in FILES for key, told in file.TEXTS.items()})
#: Those that may come as finished English: what labels and JSON tell of a diagnosis, and help of a family of options.
RECOGNISED: Final[Mapping[str, str]] = MappingProxyType({**commands.TEXTS, **diagnosis.TEXTS})
