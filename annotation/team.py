"""A team's own questions and words, laid over the schema. Reads the team's TOML file.

A team may ask one more tag question, add values to a tag question or to a list of reasons, and put
its own words for titles, help and values. It can't take away or rename what the tables rely on:
the file has no words for that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from annotation.config import AnnotateConfig
from annotation.csv_answers import COLUMNS
from annotation.form import Choice, Form, Question, named
from annotation.labeling import lint
from annotation.questions import FORMS
from data_manifests.config import Section, read_section
from data_manifests.errors import ConfigError

__all__ = ["TeamFile", "forms", "laid_over", "read_team_file"]

_GROUPS = ("semantic", "photographic")
_OPEN = (*_GROUPS, "reasons")  # columns whose questions may get more values
_NAME = r"^[a-z][a-z0-9_]{1,39}$"
_LABELS = ("boxes", "points", "brush")


class TeamValue(Section):
    """Words for a value; a new one is named as the tables shall hold it."""

    words: str = Field(default="", max_length=60, description="what the form shows")
    help: str = Field(default="", max_length=200, description="when it is the right one")


class TeamQuestion(Section):
    """Words for a question, or a new tag question if `group` is given."""

    title: str = Field(default="", max_length=60, description="what the form asks")
    help: str = Field(default="", max_length=200, description="one line on what it means")
    required: str = Field(
        default="", max_length=120, description="what the form says where an answer must be given"
    )
    group: Literal["semantic", "photographic"] | None = Field(
        default=None, description="of a new question: what is in the picture, or how it was taken"
    )
    several: bool = Field(default=False, description="of a new question: several values may hold")
    values: dict[str, TeamValue] = Field(default={}, description="by the value's name")


class TeamFile(Section):
    """The whole file."""

    headings: dict[Literal["semantic", "photographic"], str] = Field(
        default={}, description="headings of the two groups of tags"
    )
    questions: dict[str, TeamQuestion] = Field(default={}, description="by the question's name")


def forms(config: AnnotateConfig, root: Path | None = None) -> dict[str, Form]:
    """Every form by its kind: the schema, with the team's file over it if the settings name one.

    A relative path counts from `root`, the workspace. Raises ConfigError that says what to
    correct.
    """
    if config.questions_file is None:
        return FORMS
    file = (root or Path()) / config.questions_file
    return laid_over(FORMS, read_team_file(file), str(file))


def read_team_file(file: Path) -> TeamFile:
    """The checked file; raises ConfigError if it can't be read or says what no team may."""
    return read_section(TeamFile, file, "Check questions_file under [annotate].")


def laid_over(standing: Mapping[str, Form], team: TeamFile, where: str) -> dict[str, Form]:
    """The forms with the team's words and questions; `where` is what an error points at. Pure."""
    asked = {name for form in standing.values() for name in named(form)}
    fresh = tuple(_new(n, q, where) for n, q in team.questions.items() if n not in asked)
    made = {kind: _form(form, team, fresh, where) for kind, form in standing.items()}
    for form in made.values():
        if faults := lint(form):
            raise ConfigError(
                f"{where}: in the form {form.kind!r} {faults[0]}.", "Correct it and run it again."
            )
    return made


def _form(form: Form, team: TeamFile, fresh: tuple[Question, ...], where: str) -> Form:
    said = [
        _reworded(q, team.questions[q.name], where) if q.name in team.questions else q
        for q in form.questions
    ]
    if form.kind != "triage":  # the only one that asks for tags
        return replace(form, questions=tuple(said))
    for question in fresh:  # each at the end of its group
        last = max(i for i, q in enumerate(said) if q.column == question.column)
        said.insert(last + 1, question)
    semantic, photographic = form.headings
    headings = (
        team.headings.get("semantic", semantic),
        team.headings.get("photographic", photographic),
    )
    return replace(form, questions=tuple(said), headings=headings)


def _new(name: str, said: TeamQuestion, where: str) -> Question:
    if said.group is None:
        raise ConfigError(
            f"{where}: there is no question {name!r}.",
            'For a new one say group = "semantic" or "photographic".',
        )
    if not said.title or len(said.values) < 2:
        raise ConfigError(f"{where}: {name!r} is new.", "Give it a title and two values at least.")
    for one in (name, *said.values):
        _check_name(one, where)
    if name in COLUMNS:
        raise ConfigError(
            f"{where}: {name!r} is a column of the sheets that people fill in offline.",
            "Take another name.",
        )
    choices = tuple(Choice(v, w.words, help=w.help) for v, w in said.values.items())
    kind: Literal["many", "one"] = "many" if said.several else "one"
    return Question(
        name, kind, said.group, said.title, choices, required=said.required, help=said.help
    )


def _reworded(question: Question, said: TeamQuestion, where: str) -> Question:
    if said.group is not None or said.several:
        raise ConfigError(
            f"{where}: {question.name!r} is asked already; its group and kind stay as they are.",
            "Leave out group and several, or take another name.",
        )
    known = {c.value for c in question.choices}
    added = {v: w for v, w in said.values.items() if v not in known}
    if added and question.column not in _OPEN:
        raise ConfigError(
            f"{where}: {question.name!r} has no value {next(iter(added))!r} and takes no new one,"
            " as the tables and the next steps rely on those it has.",
            f"It has {', '.join(sorted(known)) or 'none'}.",
        )
    for value in added:
        _check_name(value, where)
    choices = [_rephrased(question, c, said.values.get(c.value), where) for c in question.choices]
    choices += [Choice(v, w.words, help=w.help) for v, w in added.items()]
    return replace(
        question,
        title=said.title or question.title,
        help=said.help or question.help,
        # Only its words: what must be answered stays so, and what may be left empty too.
        required=(said.required or question.required) if question.required else "",
        choices=tuple(choices),
    )


def _rephrased(question: Question, choice: Choice, said: TeamValue | None, where: str) -> Choice:
    if said is None:
        return choice
    if said.words and question.kind in _LABELS:
        raise ConfigError(
            f"{where}: {choice.value!r} is a label, which Label Studio shows by its value.",
            "Leave out its words; its help may be given.",
        )
    return replace(choice, words=said.words or choice.words, help=said.help or choice.help)


def _check_name(name: str, where: str) -> None:
    if not re.match(_NAME, name):
        raise ConfigError(
            f"{where}: {name!r} can't stand in the tables.",
            "A name has 2 to 40 of a-z, 0-9 and _, from a letter on; the rest goes in words.",
        )
