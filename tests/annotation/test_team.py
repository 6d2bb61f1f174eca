"""A team's file over the schema: what it may say, and what the tables rely on that it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotation.config import AnnotateConfig
from annotation.form import Form, named
from annotation.labeling import lint, to_xml
from annotation.questions import FORMS
from annotation.questions_page import COMMAND, questions_page
from annotation.team import forms
from data_manifests.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"
FILE = """
[headings]
semantic = "Im Bild"

[questions.decision]
title = "Entscheidung"
required = "Bitte wählen"
[questions.decision.values]
accept.words = "annehmen"

[questions.hair]
title = "Haare"
[questions.hair.values]
bald.words = "kahl"
braids = { words = "Zöpfe", help = "geflochten" }

[questions.season]
group = "photographic"
title = "Season"
help = "Of the year that the picture shows."
[questions.season.values]
summer = {}
winter = {}
"""


def told(folder: Path, text: str) -> dict[str, Form]:
    (folder / "questions.toml").write_text(text)
    return forms(AnnotateConfig(questions_file=Path("questions.toml")), folder)


def test_the_page_of_questions_is_as_the_schema_says() -> None:
    assert PAGE.read_text() == questions_page(FORMS), f"docs/questions.md is stale: run `{COMMAND}`"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_question_and_every_value_has_a_line_of_help(form: Form) -> None:
    lines = [(q.name, q.help) for q in form.questions]
    lines += [(f"{q.name}/{c.value}", c.help) for q in form.questions for c in q.choices]
    assert [name for name, help_ in lines if not help_ or "\n" in help_] == []


def test_without_a_file_the_schema_stands() -> None:
    assert forms(AnnotateConfig()) is FORMS


def test_a_team_translates_adds_values_and_asks_more(tmp_path: Path) -> None:
    made = told(tmp_path, FILE)
    triage = named(made["triage"])
    assert [c.title for c in triage["decision"].choices] == ["annehmen", "retouch", "reject"]
    assert [c.value for c in triage["decision"].choices] == ["accept", "retouch", "reject"]
    assert [c.title for c in triage["hair"].choices][-3:] == ["kahl", "covered", "Zöpfe"]
    assert triage["season"].column == "photographic"
    assert all(lint(form) == [] for form in made.values())
    assert 'alias="accept"' in to_xml(made["triage"])
    assert "Im Bild" in to_xml(made["triage"])
    assert made["triage"].version != FORMS["triage"].version
    assert made["review"].version == FORMS["review"].version


def test_a_question_shown_after_a_translated_value_is_still_shown(tmp_path: Path) -> None:
    text = '[questions.decision.values]\nreject.words = "ablehnen"\n'
    assert 'whenChoiceValue="ablehnen"' in to_xml(told(tmp_path, text)["triage"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[questions.mood]\ntitle = 'Mood'", "there is no question 'mood'"),
        ("[questions.mood]\ngroup = 'semantic'\ntitle = 'Mood'", "two values at least"),
        ("[questions.decision.values]\nmaybe = {}", "takes no new one"),
        ("[questions.retouch_area.values]\ntattoo = {}", "takes no new one"),
        ("[questions.retouch_area.values]\nshine.words = 'Glanz'", "shows by its value"),
        ("[questions.hair]\ngroup = 'photographic'", "stay as they are"),
        ("[questions.hair.values]\n'Zöpfe' = {}", "can't stand in the tables"),
        ("[questions.hair.values]\nbraids.words = 'short'", "'short' 2 times"),
        ("[questions.hair]\nremove = ['bald']", "unknown setting"),
        (
            "[questions.image]\ngroup='semantic'\ntitle='I'\nvalues.aa={}\nvalues.bb={}",
            "key of the",
        ),
        ("[questions", "no valid TOML"),
    ],
)
def test_what_the_tables_rely_on_stays(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        told(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml can't be read"):
        forms(AnnotateConfig(questions_file=Path("none.toml")), tmp_path)
