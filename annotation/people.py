"""Who is who: names on the command line, users of the server, their desks and what they may answer.

Reads the team's people file. A person is known in the tables by the pseudonym of their name there,
wherever they answered; the name, the e-mail and the user's number go into no table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from pydantic import Field

from annotation.config import AnnotateConfig
from annotation.ledger import person
from annotation.roles import Role, Roles
from data_manifests.config import Section, read_section
from data_manifests.errors import ConfigError, InputError
from data_manifests.store import Store

__all__ = ["OnePerson", "People", "PeopleFile", "checked", "people_of"]


class OnePerson(Section):
    """One person, by the name whose pseudonym stands in the tables."""

    names: tuple[str, ...] = Field(default=(), description="other ways to write the name")
    user: int | str | None = Field(
        default=None, description="their user on the server: its number or its e-mail"
    )
    desk: str = Field(default="", description="whose project is theirs")
    roles: tuple[Role, ...] | None = Field(
        default=None, description="what they may answer; left out, everything"
    )


class PeopleFile(Section):
    """The whole file."""

    others: tuple[Role, ...] | None = Field(
        default=None, description="roles of whoever is not named; left out, all"
    )
    people: dict[str, OnePerson] = Field(default={}, description="by name")


@dataclass(frozen=True, slots=True)
class People:
    """The people of a workspace; without a file anybody may answer anything under any name."""

    file: Path | None = None
    listed: Mapping[str, OnePerson] = field(default_factory=dict)
    others: tuple[Role, ...] | None = None
    voters_may_settle: bool = False

    def name_of(self, written: str) -> str:
        """The name that stands for a person, however they write it; raises InputError."""
        if self.file is None:
            return written
        known = {_folded(n): name for name, p in self.listed.items() for n in (name, *p.names)}
        if (found := known.get(_folded(written))) is not None:
            return found
        near = difflib.get_close_matches(_folded(written), known, n=1)
        hint = f'Did you mean "{known[near[0]]}"? Else add them there.' if near else ""
        raise InputError(
            f'{self.file} names nobody called "{written}".',
            hint or "Add them there, or write the name as it stands there.",
        )

    def users(self, emails: Mapping[int, str]) -> tuple[dict[int, str], tuple[str, ...]]:
        """Names by user's number, and names whose user is none of the server's.

        `emails` are those of the server's users, by number.
        """
        numbers = {_folded(email): number for number, email in emails.items()}
        found: dict[int, str] = {}
        missing: list[str] = []
        for name, user in self._users():
            number = numbers.get(_folded(user)) if isinstance(user, str) else user
            if number is not None and number in emails:
                found[number] = name
            else:
                missing.append(name)
        return found, tuple(missing)

    @property
    def name_users(self) -> bool:
        """Whether anybody's user is named, so that the server's are worth a look."""
        return any(self._users())

    def desk_of(self, store: Store) -> dict[str, str]:
        """Desks by pseudonym."""
        return {person(store, n): p.desk for n, p in self.listed.items() if p.desk}

    def roles(self, store: Store) -> Roles:
        """Roles by pseudonym."""
        given = {n: p.roles for n, p in self.listed.items()}
        # Who is named without roles may answer everything, whatever the others may.
        return Roles(
            {person(store, n): get_args(Role) if r is None else r for n, r in given.items()},
            self.others,
            self.voters_may_settle,
        )

    def spellings(self, store: Store) -> dict[str, str]:
        """The pseudonym that stands for each one that another spelling of a name had."""
        return {
            person(store, other): person(store, name)
            for name, one in self.listed.items()
            for other in one.names
        }

    def _users(self) -> Iterator[tuple[str, int | str]]:
        return ((name, p.user) for name, p in self.listed.items() if p.user is not None)


def people_of(config: AnnotateConfig, root: Path | None = None) -> People:
    """The people that the settings name; a relative path counts from `root`, the workspace.

    Raises ConfigError that says what to correct.
    """
    if config.people_file is None:
        return People(voters_may_settle=config.voters_may_settle)
    file = (root or Path()) / config.people_file
    read = read_section(PeopleFile, file, "Check people_file under [annotate].")
    return checked(read, file, config)


def checked(read: PeopleFile, file: Path, config: AnnotateConfig) -> People:
    """The people, each told from everybody else; no e-mail stands in an error. Pure."""
    holders: dict[tuple[str, str], list[str]] = {}
    for name, one in read.people.items():
        for key in _marks(name, one):
            holders.setdefault(key, []).append(name)
        if one.desk and one.desk not in config.desks:
            raise ConfigError(
                f'{file}: {name} sits at "{one.desk}", and there is no such desk.',
                f"Desks under [annotate] are: {', '.join(config.desks) or 'none'}.",
            )
    for (what, _), names in holders.items():
        if len(names) > 1:
            raise ConfigError(f"{file}: {' and '.join(names)} have one {what}.", "Correct one.")
    return People(file, read.people, read.others, config.voters_may_settle)


def _marks(name: str, one: OnePerson) -> Iterator[tuple[str, str]]:
    """What must be one person's alone."""
    yield from {("name", _folded(n)) for n in (name, *one.names)}
    if one.user is not None:
        yield "user", _folded(str(one.user))
    if one.desk:
        yield "desk", one.desk


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
