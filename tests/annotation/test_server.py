from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from annotation import server
from annotation.config import AnnotateConfig
from annotation.connect import open_studio
from annotation.server import LocalServer, find_program, login_of, running, served_media
from annotation.studio import Studio
from data_manifests.errors import ConfigError, RemoteError
from data_manifests.media import Workspace


def test_a_missing_program_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make setup"):
        find_program(AnnotateConfig(label_studio=tmp_path / "label-studio"))


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    program = _program(tmp_path, "import time; time.sleep(60)")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = AnnotateConfig(port=other.getsockname()[1], label_studio=program)
        with (
            pytest.raises(ConfigError, match="taken"),
            LocalServer(Workspace(tmp_path / "w"), config),
        ):
            pass


def test_a_server_that_dies_at_the_start_shows_its_last_words(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    program = _program(tmp_path, "raise SystemExit('no such database')")
    config = AnnotateConfig(port=free_port(), label_studio=program)
    workspace = Workspace(tmp_path / "w")
    with pytest.raises(RemoteError, match="no such database"), LocalServer(workspace, config):
        pass
    assert running(workspace) is None


def test_a_server_that_never_gets_ready_is_stopped(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    program = _program(tmp_path, "import time; time.sleep(60)")
    config = AnnotateConfig(port=free_port(), label_studio=program, start_timeout_s=1)
    local = LocalServer(Workspace(tmp_path / "w"), config)
    with pytest.raises(RemoteError, match="not ready after"), local:
        pass
    assert local.pid is None


def test_the_login_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ConfigError, match="never ran"):
        login_of(workspace)
    made = login_of(workspace, create=True)
    assert login_of(workspace, create=True) == made
    mode = stat.S_IMODE((workspace.label_studio / "login.json").stat().st_mode)
    assert mode == 0o600


def test_a_state_file_of_a_dead_server_is_not_believed(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    workspace = Workspace(tmp_path)
    workspace.label_studio.mkdir()
    state = {"url": f"http://127.0.0.1:{free_port()}", "pid": os.getpid()}
    (workspace.label_studio / "server.json").write_text(json.dumps(state))
    assert running(workspace) is None
    assert server.stop(workspace) is None


@pytest.mark.studio
def test_a_running_server_is_found_and_not_started_twice(label_studio: LocalServer) -> None:
    found = running(label_studio.workspace)
    assert found is not None
    assert (found.url, found.pid) == (label_studio.url, label_studio.pid)
    again = LocalServer(label_studio.workspace, label_studio.config)
    with pytest.raises(ConfigError, match="already running"), again:
        pass
    assert running(label_studio.workspace) == found


@pytest.mark.studio
def test_the_log_is_for_its_owner_only(label_studio: LocalServer) -> None:
    mode = (label_studio.workspace.label_studio / "label-studio.log").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_local_server_is_used_where_the_environment_names_none(
    label_studio: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with open_studio(label_studio.workspace, label_studio.config) as studio:
        assert studio.url == label_studio.url
        assert isinstance(studio.projects(), dict)


@pytest.mark.studio
def test_another_person_is_signed_up_once_and_is_a_person_of_its_own(
    label_studio: LocalServer,
) -> None:
    token = label_studio.add_person("second@authface.local")
    assert label_studio.add_person("second@authface.local") == token
    headers = {"Authorization": f"Token {token}"}
    who = httpx.get(f"{label_studio.url}/api/current-user/whoami", headers=headers, trust_env=False)
    assert who.json()["email"] == "second@authface.local"


@pytest.mark.studio
def test_nobody_signs_up_without_an_invitation(label_studio: LocalServer) -> None:
    with httpx.Client(base_url=label_studio.url, trust_env=False) as browser:
        browser.get("/user/signup/")
        form = {
            "email": "stranger@authface.local",
            "password": "long enough to pass",
            "csrfmiddlewaretoken": browser.cookies.get("csrftoken", ""),
        }
        assert browser.post("/user/signup/", data=form).status_code == httpx.codes.FORBIDDEN


@pytest.mark.studio
def test_the_served_folder_holds_nothing_but_media(label_studio: LocalServer) -> None:
    served = served_media(label_studio.workspace)
    assert [p.name for p in served.parent.iterdir()] == ["media"]
    assert served.resolve() == label_studio.workspace.media.resolve()


@pytest.mark.studio
def test_files_beside_media_are_not_served(label_studio: LocalServer) -> None:
    with Studio(label_studio.url, label_studio.token) as studio:
        for outside in ("../login.json", "media/../../login.json", "label-studio/login.json"):
            assert not studio.shows(f"/data/local-files/?d={outside}")


@pytest.mark.studio
@pytest.mark.slow
def test_sigterm_to_the_command_stops_the_server_in_order(
    prepared: Workspace, free_port: Callable[[], int]
) -> None:
    """The command is started as a user would, on a copy of the prepared data."""
    workspace = prepared
    program = Path(sys.executable).with_name("authface")
    command = [str(program), "annotate", "serve", "-w", str(workspace.root)]
    with subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any("ready" in line for line in iter(process.stdout.readline, ""))
        found = running(workspace)
        assert found is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert running(workspace) is None
    with pytest.raises(ProcessLookupError):
        os.kill(found.pid, 0)


def _program(folder: Path, body: str) -> Path:
    program = folder / "label-studio"
    program.write_text(f"#!{sys.executable}\n{body}\n")
    program.chmod(0o755)
    return program
