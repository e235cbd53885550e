"""The templates of pages, the live page's and those of reports: one way to read them, and to say a text in them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from yoloscope_exporter.language import say


def environment(package: str) -> Environment:
    """The templates in `package`: whatever they show is escaped, an unknown name is an error, `say` tells a text."""
    made = Environment(
        loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    made.filters["say"] = made.globals["say"] = say
    return made
