"""The README's walk, run as printed: every line that starts with a dollar sign, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authface.demo_photos import FRAMINGS, make_originals
from authface.demo_restore import make_degraded
from authface.demo_reviewers import review

README = Path(__file__).parents[1] / "README.md"
ANSWERED = "authface annotate pull"  # people answer before this line
READY = "until authface annotate status | grep -q 'Label Studio runs'; do sleep 1; done"


def commands() -> Iterator[str]:
    for block in re.findall(r"```console\n(.*?)```", README.read_text(), flags=re.DOTALL):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `make demo` leaves it, with few originals."""
    demo = tmp_path / "demo-workspace"
    list(make_originals(demo / "originals", FRAMINGS[:2], faulty=False))
    list(make_degraded(demo))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in ("AUTHFACE_WORKSPACE", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.studio
@pytest.mark.timeout(900)
def test_the_readmes_commands_run_as_printed(folder: Path, free_port: Callable[[], int]) -> None:
    walk = list(commands())
    pause = walk.index(ANSWERED)
    made, *first = walk[:pause]
    # The port may be taken on the machine that tests; two people answer below.
    settings = f"port = {free_port()}\\nanswers_wanted = 2"
    settle = f"sed -i 's/^.annotate.$/[annotate]\\n{settings}/' portraits/authface.toml"
    first.insert(first.index("authface annotate serve &") + 1, READY)
    try:
        run(folder, [made, settle, *first])
        review(folder / "portraits")
        run(folder, ["export AUTHFACE_WORKSPACE=$PWD/portraits", *walk[pause:]])
    finally:
        run(folder, ["authface annotate serve --stop -w portraits"])
    printed = (folder / "out.txt").read_text()
    assert "2 photos = 1 samples + 1 left out" in printed
    assert (folder / "portraits" / "report.html").stat().st_size > 50_000
    assert (folder / "restored" / "portrait.jpg").exists()


def run(folder: Path, lines: list[str]) -> None:
    """Run the lines in one shell that stops at the first failure; their output goes to a file."""
    script = "set -euo pipefail\n" + "\n".join(lines)
    with (folder / "out.txt").open("a") as out:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, stdout=out, stderr=out, check=False
        )
    assert done.returncode == 0, (folder / "out.txt").read_text()[-3000:]
