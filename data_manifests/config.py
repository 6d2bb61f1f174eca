"""Settings as typed sections: what a TOML file may say, with errors a person can act on."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_manifests.errors import ConfigError

__all__ = ["Section", "flat", "parse_section", "read_section"]

S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """A table of settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings in tables as pairs, the tables' names before a dot, as --set takes them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def parse_section(model: type[S], values: Mapping[str, Any], where: str) -> S:
    """The checked section; `where` names the file or option that an error should point at."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(
            f"{where}: {_first_fault(model, error)}", "Correct it and run the command again."
        ) from error


def read_section(model: type[S], file: Path, todo: str = "Check the file.") -> S:
    """The checked section that a TOML file is; `todo` says what to do if it can't be read.

    Raises ConfigError for that, for what is no TOML, and as `parse_section` does.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is no valid TOML: {error}.", "Correct that line.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read: {error}.", todo) from error
    return parse_section(model, values, str(file))


def _first_fault(model: type[BaseModel], error: ValidationError) -> str:
    fault = error.errors()[0]
    path = [str(p) for p in fault["loc"]]
    name = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _names(model, path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}."
        return f"unknown setting {name!r}; {hint}"
    return f"{name} = {fault['input']!r}: {fault['msg']}."


def _names(model: type[BaseModel], path: list[str]) -> list[str]:
    for step in path:
        inner = model.model_fields[step].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
