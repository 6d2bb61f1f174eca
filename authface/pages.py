"""How the project's own HTML pages are made from their templates."""

from __future__ import annotations

import jinja2

__all__ = ["page_environment"]


def page_environment() -> jinja2.Environment:
    """Templates of this package: what a person typed is escaped, what is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("authface"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
