"""Who is who: one pseudonym for a person, wherever they answer, and nothing else in the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotation.agreement import settle
from annotation.config import AnnotateConfig
from annotation.ledger import naming, person
from annotation.people import People, people_of
from annotation.roles import NOT_THEIR_ROLE, Roles
from annotation.taken import Settling, take
from annotation.united import unite
from data_manifests.errors import ConfigError, InputError
from data_manifests.records import Annotation, Consensus, Photo
from data_manifests.store import Store
from tests.annotation.test_answered import PHOTO, said
from tests.annotation.test_answered_off_server import by_csv

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

MAIL = "anna@studio.example"
FILE = f"""
[people."Anna Berg"]
names = ["A. Berg"]
user = "{MAIL}"
desk = "north"

[people.Bo]
user = 7
roles = ["reviewer"]
"""


def told(folder: Path, text: str = FILE) -> People:
    (folder / "people.toml").write_text(text)
    config = AnnotateConfig(people_file=Path("people.toml"), desks=("north", "south"))
    return people_of(config, folder)


def test_without_a_file_every_name_is_a_person() -> None:
    assert people_of(AnnotateConfig()).name_of("Anybody") == "Anybody"
    assert not people_of(AnnotateConfig()).name_users


def test_a_person_is_found_by_each_way_to_write_the_name(tmp_path: Path) -> None:
    people = told(tmp_path)
    for written in ("Anna Berg", " anna  BERG", "a. berg"):
        assert people.name_of(written) == "Anna Berg"
    with pytest.raises(InputError, match='nobody called "Ana Berg"') as error:
        people.name_of("Ana Berg")
    assert 'Did you mean "Anna Berg"?' in error.value.todo
    with pytest.raises(InputError) as error:
        people.name_of("Zed")
    assert MAIL not in str(error.value)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[people.A]\nnames = ["b"]\n[people.B]', "A and B have one name"),
        ("[people.A]\nuser = 1\n[people.B]\nuser = 1", "A and B have one user"),
        ('[people.A]\nuser = "x@y"\n[people.B]\nuser = "X@y"', "A and B have one user"),
        ('[people.A]\ndesk = "north"\n[people.B]\ndesk = "north"', "A and B have one desk"),
        ('[people.A]\ndesk = "west"', 'sits at "west"'),
        ('[people.A]\nroles = ["chief"]', "roles"),
        ("[people.A]\nemail = 'x@y'", "unknown setting 'people.A.email'"),
        ("[people", "no valid TOML"),
    ],
)
def test_a_file_that_mixes_people_up_is_refused_without_telling_an_address(
    tmp_path: Path, text: str, wrong: str
) -> None:
    with pytest.raises(ConfigError, match=wrong) as error:
        told(tmp_path, text)
    assert "x@y" not in str(error.value).casefold()


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        people_of(AnnotateConfig(people_file=Path("none.toml")), tmp_path)


def test_users_are_known_by_number_or_address(tmp_path: Path) -> None:
    people = told(tmp_path)
    assert people.users({3: MAIL.upper(), 7: "bo@x"}) == ({3: "Anna Berg", 7: "Bo"}, ())
    assert people.users({3: "other@x"}) == ({}, ("Anna Berg", "Bo"))
    store = Store(tmp_path / "tables")
    name = naming(store, "server", {3: "Anna Berg"})
    assert name(3) == person(store, "anna berg")
    assert len({name(3), name(4), naming(store, "server")(3), name(None)}) == 4
    assert people.desk_of(store) == {person(store, "Anna Berg"): "north"}


def test_who_is_named_without_roles_may_all_and_others_what_the_file_says(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "tables")
    roles = told(tmp_path, 'others = ["photographer"]\n' + FILE).roles(store)
    anna, bo = person(store, "Anna Berg"), person(store, "Bo")
    asked = [("triage", 1), ("triage", 2), ("retouch", 1), ("review", 1)]
    assert [roles.allow(anna, *a) for a in asked] == [True] * 4
    assert [roles.allow(bo, *a) for a in asked] == [False, False, True, True]
    assert [roles.allow("stranger", *a) for a in asked] == [True, False, True, False]
    assert [Roles().allow("anybody", *a) for a in asked] == [True] * 4


def test_a_file_of_somebody_without_the_role_is_set_aside_with_what_it_said(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "tables")
    how = Settling(settle, roles=Roles({"p": ["reviewer"]}))
    taken = take(store, [said("p", raw='{"decision": "accept"}')], how=how, why="test")
    (row,) = store.read(Annotation)
    assert (taken.refused, row.state, row.flags) == (1, "set_aside", (NOT_THEIR_ROLE,))
    assert (row.decision, row.raw) == (None, '{"decision": "accept"}')
    assert [c.voters for c in store.read(Consensus)] == [0]


def test_answers_from_before_it_was_known_who_is_who_become_one_persons(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    people = told(tmp_path)
    old = naming(store, "s")(3)
    by_hand = said(person(store, "A. Berg"), decision="reject")
    on_server = said(old, "label_studio", annotation_id="s:1", edited_by=old)
    how = Settling(settle)
    take(store, [by_hand, on_server], how=how, why="test")
    assert [c.voters for c in store.read(Consensus)] == [2]
    assert unite(store, people, {3: "Anna Berg"}, server="s", how=how) == 2
    rows = store.read(Annotation)
    assert {a.annotator for a in rows} == {person(store, "Anna Berg")}
    assert sorted(a.state for a in rows) == ["counted", "set_aside"]
    assert [c.voters for c in store.read(Consensus)] == [1]
    assert unite(store, people, {3: "Anna Berg"}, server="s", how=how) == 0
    assert PHOTO in {a.photo_id for a in rows}


@pytest.mark.studio
def test_who_works_on_the_server_and_by_file_has_one_pseudonym_and_one_vote(
    desk: Desk,
    add_photos: Callable[..., list[Photo]],
    answer: Callable[..., list[dict[str, Any]]],
) -> None:
    anna = "anna-on-the-server@authface.local"
    token = str(desk.server.add_person(anna))
    (photo,) = add_photos(desk.store, desk.media)
    desk.push()
    desk.studio.submit(desk.sent(photo), answer("accept"), token=token, lead_time=9.0)
    desk.pull()
    by_csv(desk, photo, "reject")  # as Anna Berg
    assert (desk.settled(photo).voters, desk.settled(photo).conflict) == (2, True)

    file = desk.store.folder.parent / "people.toml"
    file.write_text(f'[people."Anna Berg"]\nuser = "{anna}"\n[people.Gone]\nuser = "no@where"\n')
    known = replace(desk, config=desk.config.model_copy(update={"people_file": file}))
    assert known.pull().unknown_people == ("Gone",)
    name = person(desk.store, "Anna Berg")
    assert {a.annotator for a in desk.answers()} == {name}
    assert (desk.settled(photo).voters, desk.settled(photo).decision) == (1, "accept")
    version = desk.store.version(Annotation)
    known.pull(full=True)
    assert desk.store.version(Annotation) == version  # it stays one person
    held = b"".join(p.read_bytes() for p in desk.store.folder.rglob("*") if p.is_file())
    assert anna.encode() not in held
    assert b"Anna Berg" not in held
