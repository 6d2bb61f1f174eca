"""What a new Label Studio finds is kept first; settings go by environment."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from annotation.config import AnnotateConfig
from annotation.forget import compact
from annotation.server_settings import DATABASE, environment
from annotation.server_upgrade import copies, keep_before_upgrade, version_of
from data_manifests.errors import ConfigError
from data_manifests.media import Workspace

LOGIN = {"email": "e", "password": "p", "token": "t"}


def a_database(place: Workspace) -> Path:
    file = place.label_studio / "data" / "label_studio.sqlite3"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE task (id INTEGER)")
        database.execute("INSERT INTO task VALUES (7)")
        database.commit()
    return file


def test_the_database_is_kept_once_when_another_version_opens_it(tmp_path: Path) -> None:
    place, said = Workspace(tmp_path), list[str]()
    a_database(place)
    for version in ("1.23.2", "1.23.2", "1.24.0", "1.24.0"):
        keep_before_upgrade(place, version, said.append)
    (kept,) = copies(place)
    assert said == [f"Label Studio was 1.23.2 and is now 1.24.0: the database is kept at {kept}"]
    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT id FROM task").fetchall() == [(7,)]


def test_an_erasure_leaves_no_copy_behind(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    a_database(place)
    for version in ("1", "2"):
        keep_before_upgrade(place, version, lambda _: None)
    assert copies(place)
    assert compact(place)
    assert not copies(place)


def test_a_program_tells_its_version_by_where_it_lies(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "label_studio-1.23.2.dist-info").mkdir(parents=True)
    (packages / "label_studio_sdk-2.1.2.dist-info").mkdir()
    assert version_of(tmp_path / "bin" / "label-studio") == "1.23.2"
    assert version_of(tmp_path / "elsewhere" / "bin" / "label-studio") == ""


def test_a_team_s_database_is_told_to_the_server_and_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE, "postgresql://anna:p%40ss@db.example.org:6432/faces")
    made = environment(Workspace(tmp_path), LOGIN, AnnotateConfig(), served="/served")
    told = {k: v for k, v in made.items() if k.startswith(("POSTGRE_", "DJANGO_"))}
    assert told == {
        "DJANGO_DB": "default",
        "POSTGRE_HOST": "db.example.org",
        "POSTGRE_PORT": "6432",
        "POSTGRE_NAME": "faces",
        "POSTGRE_USER": "anna",
        "POSTGRE_PASSWORD": "p@ss",
    }
    assert DATABASE not in made


@pytest.mark.parametrize("url", ["mysql://db/faces", "postgresql://db", "faces"])
def test_another_database_is_refused_without_its_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE, url.replace("//", "//anna:secret@"))
    with pytest.raises(ConfigError, match="no PostgreSQL address") as caught:
        environment(Workspace(tmp_path), LOGIN, AnnotateConfig(), served="/served")
    assert "secret" not in str(caught.value)


def test_only_webhooks_open_loopback_to_the_server(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    shut = environment(place, LOGIN, AnnotateConfig(), served="/s")
    opened = environment(place, LOGIN, AnnotateConfig(webhooks=True), served="/s")
    assert "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS" not in shut
    banned = opened["LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"].split(",")
    assert "127.0.0.0/8" not in banned
    assert {"10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "::1/128"} <= set(banned)
