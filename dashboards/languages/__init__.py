"""Languages beside English: suffix of uids, folder, and the table of translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import zh_cn as catalogue

from dashboards.languages.zh_cn import TEXTS as ZH_CN

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
LANGUAGES = (Language("zh-CN", "-zh", {**catalogue.TEXTS, **ZH_CN}),)
