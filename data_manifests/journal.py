"""What an erasure still has to do, in private files beside the tables, gone when it is done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from data_manifests.errors import ManifestError
from data_manifests.private import write_private

__all__ = ["Journal", "Sent"]

Sent = tuple[str, int, int]  # (server, project, task) of a question on Label Studio
T = TypeVar("T")


class Journal:
    """`.erasing.json` holds the plan in progress; two files beside it what is owed after its end:
    `.erasing-tasks.json` by a server, `.erasing-exports.json` by exports that could not be changed.
    """

    def __init__(self, root: Path) -> None:
        self.file = root / ".erasing.json"
        self.tasks_file = root / ".erasing-tasks.json"
        self.exports_file = root / ".erasing-exports.json"

    def begin(self, plan: Any) -> None:
        """Write the plan down before its first step."""
        # Not dump_json: a file's name need not be UTF-8, and json escapes what is not.
        told = TypeAdapter(type(plan)).dump_python(plan, mode="json")
        write_private(self.file, json.dumps(told))

    def read(self, kind: type[T]) -> T | None:
        """The plan of an erasure that was begun and not ended, none if there is none."""
        if not self.file.exists():
            return None
        try:
            return TypeAdapter(kind).validate_python(json.loads(self.file.read_bytes()))
        except ValueError as error:  # also pydantic's ValidationError
            raise ManifestError(
                f"{self.file} can't be read: {str(error).splitlines()[-1].strip()}.",
                "Move it away, and erase the subject again.",
            ) from error

    def end(self) -> None:
        """Forget the plan."""
        self.file.unlink(missing_ok=True)

    def open_tasks(self) -> tuple[Sent, ...]:
        """Tasks that are still to be deleted on their server."""
        if not self.tasks_file.exists():
            return ()
        listed = json.loads(self.tasks_file.read_text(encoding="utf-8"))
        return tuple((str(s), int(p), int(t)) for s, p, t in listed)

    def owe(self, sent: Iterable[Sent]) -> None:
        """Add tasks to those that are to be deleted."""
        self.owe_only({*self.open_tasks(), *sent})

    def owe_only(self, sent: Iterable[Sent]) -> None:
        """These tasks are to be deleted and no others."""
        _write(self.tasks_file, sorted(sent))

    def open_exports(self) -> dict[str, frozenset[str]]:
        """Sample ids that are still to be taken out of an export, by export id."""
        if not self.exports_file.exists():
            return {}
        listed = json.loads(self.exports_file.read_text(encoding="utf-8"))
        return {str(export): frozenset(samples) for export, samples in listed.items()}

    def owe_exports(self, more: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        """Add samples to those that are to be taken out; all of them, by export id."""
        owed = self.open_exports()
        for export, samples in more.items():
            if samples:
                owed[export] = owed.get(export, frozenset()) | samples
        self.owe_only_exports(owed)
        return owed

    def owe_only_exports(self, owed: Mapping[str, frozenset[str]]) -> None:
        """These samples are to be taken out of these exports and no others."""
        _write(self.exports_file, {export: sorted(samples) for export, samples in owed.items()})


def _write(file: Path, owed: Any) -> None:
    """Write down what is owed; no file if nothing is."""
    if owed:
        write_private(file, json.dumps(owed))
    else:
        file.unlink(missing_ok=True)
