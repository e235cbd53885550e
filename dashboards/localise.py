"""The same dashboard in another language: every word that people read is looked up in one table.

What is translated: titles, descriptions (paragraph by paragraph), legends, column heads, texts of values, names of
annotations and labels of variables. Names of labels, metrics, verdicts and Ultralytics' arguments stay as they are.
Uids and tags get a suffix, and links lead to the twin, so that both sets live side by side in one Grafana.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from dashboards.board import TAG
from dashboards.panels import BAR, NORMAL, OTHERWISE, SIGN, head_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What `json.loads` gives.
Json: TypeAlias = Any
#: Keys whose text people read, wherever they stand.
_READ = frozenset({"title", "legendFormat", "noValue", "displayName", "xField", "titleFormat", "textFormat"})
#: The linter wants these labels as they are.
_FIXED_LABELS = frozenset({"job", "instance"})
#: Labels that are there in each language, the others' with the suffix.
_LABELS = frozenset({"fix"})
_GROUPED = re.compile(rf"\b({'|'.join(_LABELS)})(?=[,)])")
#: Grafana fills these in; what else an expression like `{{run}}` says is not language.
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\$\w+|\$\{.*?\}")


class UntranslatedError(LookupError):
    """A text has no translation: add it to `yoloscope_exporter/language/zh_cn/dashboards.py`."""


def localised(dashboard: dict[str, Any], table: Mapping[str, str], suffix: str) -> dict[str, Any]:
    """The dashboard's twin.

    Raises:
        UntranslatedError: for a text that `table` lacks.
    """

    def translate(text: str) -> str:
        return _looked_up(text, table)

    twin: dict[str, Any] = _walked(dashboard, translate, suffix)
    twin["uid"] += suffix
    twin["tags"] = [f"{TAG}{suffix}"]
    for variable in twin["templating"]["list"]:
        if variable["name"] not in _FIXED_LABELS:
            variable["label"] = translate(variable["label"])
    for annotation in twin.get("annotations", {}).get("list", []):
        annotation["name"] = translate(annotation["name"])
    return twin


def readable(text: str) -> bool:
    """Whether there is anything to translate: a letter outside placeholders."""
    return any(character.isalpha() for character in _PLACEHOLDER.sub("", text))


def _looked_up(text: str, table: Mapping[str, str]) -> str:
    if not readable(text):
        return text
    if text not in table:
        raise UntranslatedError(text)
    return table[text]


def _walked(node: Json, translate: Callable[[str], str], suffix: str) -> Json:
    if isinstance(node, list):
        return [_walked(each, translate, suffix) for each in node]
    if isinstance(node, str):
        return _label(node, suffix)
    if not isinstance(node, dict):
        return node
    if node.get("id") == "mappings":
        return {**node, "value": [_mapping(each, translate) for each in node["value"]]}
    made = {_label(key, suffix): _value(key, value, translate, suffix) for key, value in node.items()}
    if "fieldConfig" in node:
        _rename_matchers(made, node, translate)
    return made


def _value(key: str, value: Json, translate: Callable[[str], str], suffix: str) -> Json:
    if isinstance(value, str):
        return _text(key, value, translate, suffix)
    if key == "renameByName":
        return {_label(field, suffix): translate(title) for field, title in value.items()}
    if key == "mappings":
        return [_mapping(each, translate) for each in value]
    if key == "tags" and TAG in value:
        return [f"{TAG}{suffix}"]
    return _walked(value, translate, suffix)


def _text(key: str, value: str, translate: Callable[[str], str], suffix: str) -> str:
    if key == "description":
        return _description(value, translate)
    if key == "url":
        return re.sub(r"^(/d/[\w-]+)", rf"\1{suffix}", value)
    if key == "expr":
        return _GROUPED.sub(lambda match: _label(match[1], suffix), value)
    return translate(value) if key in _READ else value


def _label(name: str, suffix: str) -> str:
    return f"{name}{suffix.replace('-', '_')}" if name in _LABELS else name


def _description(text: str, translate: Callable[[str], str]) -> str:
    paragraphs = []
    for paragraph in text.split("\n\n"):
        head = next((head for head in (NORMAL, OTHERWISE) if paragraph.startswith(head)), "")
        paragraphs.append((translate(head) if head else "") + translate(paragraph.removeprefix(head)))
    return "\n\n".join(paragraphs)


def _mapping(mapping: dict[str, Any], translate: Callable[[str], str]) -> dict[str, Any]:
    texts = {value: {**result, "text": translate(result["text"])} for value, result in mapping["options"].items()}
    return {**mapping, "options": texts}


def _rename_matchers(made: dict[str, Any], panel: dict[str, Any], translate: Callable[[str], str]) -> None:
    """Overrides find columns and lines by the name shown, which is translated unless it comes from a label."""
    shown = {target.get("legendFormat") for target in panel["targets"]}
    for step in panel.get("transformations", []):
        shown |= set(step["options"].get("renameByName", {}).values())
    sorted_by = {column["displayName"] for column in panel["options"].get("sortBy", [])}
    for override in made["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        if matcher["id"] == "byName" and matcher["options"] in shown:
            name = translate(matcher["options"])
            override["matcher"] = {**matcher, "options": name}
            properties = {one["id"]: one for one in override["properties"]}
            if "custom.width" in properties:
                width, figure = properties["custom.width"], properties.get("unit", {}).get("value") != "string"
                head = head_width(name) + (SIGN if matcher["options"] in sorted_by else 0)
                width["value"] = max(head, min(width["value"], BAR) if figure else width["value"])
