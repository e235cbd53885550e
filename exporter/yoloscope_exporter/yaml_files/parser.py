"""Parses YAML into text, mappings, lists and None; PyYAML is imported here alone."""

from __future__ import annotations

import re
from typing import Any

import yaml

from yoloscope_exporter.language import text

_NULL = "tag:yaml.org,2002:null"


class _Loader(yaml.BaseLoader):
    """Text, mappings, lists, and None for nothing; an alias for text alone."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what makes a file's content endless, or larger than the file by orders."""
        repeats = self.check_event(yaml.AliasEvent)
        node: yaml.Node | None = super().compose_node(parent, index)
        if repeats and node is not None and not isinstance(node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem=text("an alias may repeat text only"), problem_mark=node.start_mark)
        return node


_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_constructor(_NULL, lambda _loader, _node: None)


def parsed(data: bytes) -> Any:  # noqa: ANN401 - whatever it holds
    """The content; whatever PyYAML raises where it cannot be read."""
    return yaml.load(data, _Loader)  # noqa: S506 - it makes nothing but text, mappings and lists
