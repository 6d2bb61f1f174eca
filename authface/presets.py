"""Settings of a run from a file of their own: a path, or the name of one that AuthFace brings."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from training.config import RunConfig

    C = TypeVar("C", bound=RunConfig)

__all__ = ["ConfigOption", "preset_names", "with_file"]

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A TOML file of settings, or the name of a preset such as prior-sdxl. It counts over "
        "authface.toml; options and --set count over it.",
    ),
]


def with_file(section: C, named: str | None) -> C:
    """The section with a file's settings put in; what the file leaves out stays as it was.

    Raises ConfigError that names the file if it can't be read or holds what is no setting.
    """
    if named is None:
        return section
    from data_manifests.config import parse_section, read_section

    file = _find(named)
    said = read_section(type(section), file).model_dump(exclude_unset=True)
    return parse_section(type(section), _laid_over(section.model_dump(), said), str(file))


def preset_names() -> list[str]:
    """The presets that AuthFace brings."""
    return sorted(p.stem for p in _folder().glob("*.toml"))


def _find(named: str) -> Path:
    from data_manifests.errors import ConfigError

    file = Path(named).expanduser()
    if file.is_file():
        return file
    if named in preset_names():
        return _folder() / f"{named}.toml"
    known = ", ".join(preset_names()) or "none"
    raise ConfigError(
        f"There is no settings file {named}.", f"Name a TOML file, or one of the presets: {known}."
    )


def _folder() -> Path:
    """Beside the code in a checkout; else where the wheel's data files lie."""
    beside = Path(__file__).parents[1] / "configs"
    return (
        beside if beside.is_dir() else Path(sysconfig.get_path("data")) / "share/authface/configs"
    )


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The values below with those above in their place, table by table."""
    laid = dict(below)
    for key, value in above.items():
        inner = laid.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            laid[key] = _laid_over(inner, value)
        else:
            laid[key] = value
    return laid
