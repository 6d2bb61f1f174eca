"""What a whole test run shares: one Label Studio and one browser, started by whoever asks first."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from annotation.server import LocalServer

os.environ.setdefault("AUTHFACE_OFFLINE", "1")  # no test fetches a model file from its publisher
if "XDG_CACHE_HOME" not in os.environ:  # what tests keep, such as encoded prompts, goes with them
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="authface-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process a core: more threads each would spin while they wait for one another. With two on
    # a busy machine the tests of the samplers took seven times as long.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whichever test asks first for the server waits for its start: a minute, more if busy."""
    for item in items:
        if item.get_closest_marker("studio") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
    if hasattr(config, "workerinput"):  # the files that take longest first: no process waits long
        scopes = Counter(_scope(config, item.nodeid) for item in items)
        items.sort(key=lambda item: -_effort(config, item.nodeid, scopes))


def _scope(config: pytest.Config, nodeid: str) -> str:
    """What runs in one process: a file, or all the files that ask for the server."""
    file = nodeid.split("::", 1)[0]
    return "studio" if _asks_for_the_server(config.rootpath / file) else file


def _effort(config: pytest.Config, nodeid: str, scopes: Counter[str]) -> int:
    scope = _scope(config, nodeid)
    slow = scope == "studio" or _starts_processes(config.rootpath / scope)
    return scopes[scope] * (20 if slow else 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several processes (`-n 2`) a file stays together, and all files that ask for the server.

    Each process would else start its own server and make its own models. Not `--dist loadgroup`:
    it renames tests in a way that pytest 9.2 no longer reads (xdist 3.8).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(config, nodeid)

    config.option.loadscopereorder = False  # the order is that of `_effort`
    return ByFile(config, log)


@functools.cache
def _starts_processes(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return "training" in file.parts or "subprocess" in text


@functools.cache
def _asks_for_the_server(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(sign in text for sign in ("mark.studio", "label_studio: ", "desk: "))


def lacking(what: str, todo: str) -> NoReturn:
    """Skip the test with a plain message; fail it in CI, where nothing may be skipped unseen."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} {todo}", pytrace=False)
    pytest.skip(f"{what} {todo}")


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a loopback port that nobody listens on."""
    return _free_port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One Label Studio for the whole run; its first start takes a minute. Mark: studio."""
    from annotation.config import AnnotateConfig
    from annotation.server import LocalServer, find_program
    from data_manifests.errors import ConfigError
    from data_manifests.media import Workspace

    config = AnnotateConfig(port=_free_port(), start_timeout_s=600, webhooks=True)
    try:
        find_program(config)
    except ConfigError as error:
        lacking(error.wrong, error.todo)
    with LocalServer(Workspace(tmp_path_factory.mktemp("studio")), config) as server:
        yield server


@pytest.fixture(scope="session")
def browser_program() -> Path:
    """A Chromium or Chrome of this machine."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        lacking(
            "There is no Chromium or Chrome.", "apt-get install --no-install-recommends chromium"
        )
    return Path(found)


@pytest.fixture
def browser(browser_program: Path, tmp_path: Path) -> Iterator[Any]:
    """A page of a real browser without a window, 1440 x 900. Mark tests with `browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=browser_program,
            headless=True,
            viewport={"width": 1440, "height": 900},
            args=FLAGS.split(),
        )
        yield context.pages[0]
        context.close()
