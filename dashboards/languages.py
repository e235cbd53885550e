"""Languages beside English: suffix of uids, folder, and the table of translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import CHINESE, zh_cn
from yoloscope_exporter.language.zh_cn import dashboards, documents

if TYPE_CHECKING:
    from collections.abc import Mapping


class Language(NamedTuple):
    """A set of dashboards.

    Attributes:
        folder: its place in `generated/`.
        suffix: behind uids and the tag.
        texts: English -> this language; every text must be in it.
    """

    folder: str
    suffix: str
    texts: Mapping[str, str]


#: What everything else calls it, and what only the dashboards say, or say otherwise: the two are one table here.
LANGUAGES = (Language(CHINESE, "-zh", {**zh_cn.TEXTS, **documents.TEXTS, **dashboards.TEXTS}),)
