"""Languages beside English: suffix of uids, folder, and the table of translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis.rules import BY_NAME
from yoloscope_exporter.language import CHINESE, finished, translated
from yoloscope_exporter.measures.catalog import MEASURES

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


#: What measures are called, in their own words.
MEASURES_ZH_CN = {one.title: one.title_zh for one in MEASURES} | {one.help: one.help_zh for one in MEASURES}
#: What verdicts are called: as the diagnosis tells it.
VERDICTS_ZH_CN = {rule.title: translated(finished(rule.title), CHINESE) for rule in BY_NAME.values()}

LANGUAGES = (Language("zh-CN", "-zh", MEASURES_ZH_CN | VERDICTS_ZH_CN | ZH_CN),)
