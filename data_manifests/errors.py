"""Everything that can go wrong and that a caller may want to catch.

AuthFaceError                 carries a sentence on what is wrong and one on what to do
├── InputError                the user can mend it: exit code 2
│   ├── UnreadablePhoto       a file that is no picture, damaged, or refused
│   ├── ConfigError           authface.toml, an option or an environment variable
│   ├── ManifestError         a table is missing, damaged, or breaks a rule
│   ├── ConsentError          no valid consent for what was asked
│   └── MissingExtra          an optional package is not installed
├── StorageError              the disk: full, read-only, or failing
├── RemoteError               Label Studio or another server did not do as asked
└── CheckpointError           a checkpoint is damaged or does not fit the run
"""

from __future__ import annotations

__all__ = [
    "AuthFaceError",
    "CheckpointError",
    "ConfigError",
    "ConsentError",
    "InputError",
    "ManifestError",
    "MissingExtra",
    "RemoteError",
    "StorageError",
    "UnreadablePhoto",
]


class AuthFaceError(Exception):
    """Root of the tree: what is wrong, and what to do about it."""

    def __init__(self, wrong: str, todo: str = "") -> None:
        super().__init__(wrong if not todo else f"{wrong} {todo}")
        self.wrong = wrong
        self.todo = todo


class InputError(AuthFaceError):
    """Something the user gave can't be used as it is."""


class UnreadablePhoto(InputError):
    """A file that is no picture, is damaged, or is refused; `reason` is its short code."""

    def __init__(self, reason: str, wrong: str, todo: str = "") -> None:
        super().__init__(wrong, todo)
        self.reason = reason


class ConfigError(InputError):
    """A setting, an option or an environment variable is wrong."""


class ManifestError(InputError):
    """A table is missing, damaged, or breaks a rule."""


class ConsentError(InputError):
    """No valid consent covers what was asked."""


class MissingExtra(InputError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed.",
            f"Install it with: pip install -c constraints.txt -e '.[{extra}]'",
        )


class StorageError(AuthFaceError):
    """The disk is full, read-only, or failing."""


class RemoteError(AuthFaceError):
    """A server refused, failed, or could not be reached."""


class CheckpointError(AuthFaceError):
    """A checkpoint is damaged, incomplete, or belongs to another run."""
