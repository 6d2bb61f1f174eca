"""The workspace file: found, checked, and refused with words a person can act on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from authface.sections import Settings
from authface.settings import find_workspace, init_workspace, open_workspace
from data_manifests.errors import ConfigError


def test_a_fresh_workspace_opens_with_the_defaults(tmp_path: Path) -> None:
    file, new = init_workspace(tmp_path / "w")
    assert new
    assert file.exists()
    _, settings = open_workspace(tmp_path / "w")
    assert settings.ingest.gates.least_long_side == 8192


def test_a_fresh_workspace_file_shows_every_section(tmp_path: Path) -> None:
    file, _ = init_workspace(tmp_path / "w")
    assert list(tomllib.loads(file.read_text())) == list(Settings.model_fields)


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    file, _ = init_workspace(tmp_path / "w")
    file.write_text("[ingest]\nphotographer = 'me'\n")
    assert init_workspace(tmp_path / "w") == (file, False)
    assert open_workspace(tmp_path / "w")[1].ingest.photographer == "me"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[ingst]\n", "did you mean 'ingest'"),
        ("[ingest]\nphotograper = 'x'\n", "did you mean 'photographer'"),
        ("[ingest.gates]\nleast_longside = 5\n", "did you mean 'least_long_side'"),
        ("[ingest.gates]\nleast_long_side = 'big'\n", "ingest.gates.least_long_side"),
        ("[ingest\n", "no valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_the_nearest_known_one(
    tmp_path: Path, text: str, named: str
) -> None:
    file, _ = init_workspace(tmp_path / "w")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"authface\.toml") as caught:
        open_workspace(tmp_path / "w")
    assert named in str(caught.value)


def test_the_nearest_workspace_above_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTHFACE_WORKSPACE", raising=False)
    init_workspace(tmp_path / "w")
    deep = tmp_path / "w" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert find_workspace() == tmp_path / "w"


def test_the_environment_names_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init_workspace(tmp_path / "w")
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(tmp_path / "w"))
    assert find_workspace() == tmp_path / "w"


def test_a_folder_that_is_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="authface init"):
        find_workspace(tmp_path)


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file")
    with pytest.raises(ConfigError, match="is a file"):
        init_workspace(tmp_path / "w")
