"""A team's file over the schema: what it may say, and what the tables rely on that it may not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from annotation.config import AnnotateConfig
from annotation.csv_answers import Aside, Row, read_rows, short_ids, to_answer, write_rows
from annotation.form import Form, named
from annotation.labeling import lint, to_xml
from annotation.questions import FORMS
from annotation.questions_page import COMMAND, questions_page
from annotation.sheets import html_page
from annotation.team import forms
from annotation.xmp import Packet, XmpRules, read_answer, to_row
from annotation.xmp_names import LR
from data_manifests.errors import ConfigError
from data_manifests.records import Annotation, Photo

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


@pytest.mark.parametrize("name", ["id", "form", "reasons", "why"])
def test_a_column_of_the_sheets_is_no_name_for_a_question(tmp_path: Path, name: str) -> None:
    text = (
        f'[questions.{name}]\ngroup = "semantic"\ntitle = "T"\nvalues = {{ ab = {{}}, cd = {{}} }}'
    )
    with pytest.raises(ConfigError, match=f"'{name}' is a column of the sheets"):
        told(tmp_path, text)


def test_sheets_and_their_table_ask_the_team_s_questions_and_say_of_which_version(
    tmp_path: Path,
) -> None:
    form = told(tmp_path, FILE)["triage"]
    photo = Photo(photo_id="ab" * 32, path="/a.jpg", state="kept", size_bytes=1)
    short = short_ids([photo.photo_id])
    page = html_page([photo], media=tmp_path, short=short, place=(1, 1), form=form)
    assert "Season" in page
    assert "Zöpfe" in page
    assert f"Questions {form.version}" in page
    assert form.version != FORMS["triage"].version
    (row,) = read_rows(write_rows([photo], form))
    assert (row.cells["form"], row.cells["season"]) == (form.version, "")


def test_an_answer_says_which_questions_it_was_given_to_and_an_unknown_one_is_set_aside(
    tmp_path: Path,
) -> None:
    form, old = told(tmp_path, FILE)["triage"], FORMS["triage"]
    photo_id = "ab" * 32

    def judged(asked: Form, /, **cells: str) -> Annotation | Aside | None:
        row = Row(2, {"id": f"AF-{photo_id}", "decision": "annehmen"} | cells)
        return to_answer(
            row, find=lambda _: [photo_id], who="p", at=datetime(2026, 3, 1, tzinfo=UTC), form=asked
        )

    now = judged(form, season="winter", hair="Zöpfe", form=form.version)
    assert isinstance(now, Annotation)
    assert (now.decision, now.photographic_tags, now.form) == (
        "accept",
        ("season/winter",),
        form.version,
    )
    assert now.semantic_tags == ("hair/braids",)
    older = judged(form, form=old.version)
    assert isinstance(older, Annotation)
    assert older.form == old.version
    gone = judged(old, decision="accept", season="winter", form=form.version)
    assert isinstance(gone, Aside)
    assert gone.rule == "unknown_question"
    assert "column season is no question of the form" in gone.why
    assert f"the sheet asked questions {form.version}, now {old.version} are asked" in gone.why
    told_apart = judged(old, decision="accept", form="not a version")
    assert isinstance(told_apart, Annotation)
    assert told_apart.form == old.version


def test_keywords_answer_the_team_s_questions(tmp_path: Path) -> None:
    form = told(tmp_path, FILE)["triage"]
    at = datetime(2026, 3, 1, tzinfo=UTC)
    words = {"lr:hierarchicalSubject": ["authface|season|winter", "authface|decision|accept"]}

    def values(name: str) -> list[str]:
        return words["lr:hierarchicalSubject"] if name == f"{LR}hierarchicalSubject" else []

    packet = Packet("", None, None, None, (), values, at)
    found = read_answer([packet], suffix=".jpg", rules=XmpRules(form=form))
    assert found.answer is not None
    row = to_row(found.answer, "ab" * 32, who="p", form=form)
    assert (row.photographic_tags, row.form) == (("season/winter",), form.version)
    unknown = read_answer([packet], suffix=".jpg", rules=XmpRules())
    assert "is no answer to a question of the form" in unknown.notes[0]
