"""The command line as a user meets it: help, examples, one-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from authface.cli import app


def authface(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "authface", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []

    def walk(command: click.Command, path: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}".strip())
        else:
            found.append((path, command))

    walk(typer.main.get_command(app), "")
    return found


@pytest.mark.parametrize(
    ("path", "command"), commands(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_command_has_help_with_an_example(path: str, command: click.Command) -> None:
    text = command.help or ""
    assert text.strip()
    assert f"Example: authface {path}" in " ".join(text.split())


def test_every_command_stands_in_the_readme() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    missing = [path for path, _ in commands() if f"authface {path}" not in readme]
    assert not missing


def test_the_version_is_printed() -> None:
    assert authface("--version").stdout.startswith("authface ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest", "nowhere", "-w", "WORKSPACE"), "nowhere"),
        (("ingest", ".", "-w", "no-workspace"), "authface init"),
        (("manifest", "show", "nouns", "-w", "WORKSPACE"), "Known are"),
        (("manifest", "show", "photos", "-w", "WORKSPACE"), "no table"),
        (("consent", "withdraw", "nobody", "-w", "WORKSPACE"), "no consent"),
        (("consent", "add", "c", "--basis", "b", "--purpose", "fun", "-w", "WORKSPACE"), "fun"),
    ],
)
def test_an_error_is_one_line_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    authface("init", "WORKSPACE", cwd=tmp_path)
    answer = authface(*arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert "Traceback" not in answer.stderr


def test_the_consent_ledger_reads_back(tmp_path: Path) -> None:
    authface("init", "w", cwd=tmp_path)
    added = authface(
        "consent",
        "add",
        "r-17",
        "--basis",
        "release",
        "--purpose",
        "training",
        "-w",
        "w",
        cwd=tmp_path,
    )
    assert added.returncode == 0
    assert "r-17" in authface("consent", "list", "-w", "w", cwd=tmp_path).stdout


def test_a_report_of_an_empty_workspace_is_a_page(tmp_path: Path) -> None:
    authface("init", "w", cwd=tmp_path)
    assert authface("report", "-w", "w", cwd=tmp_path).returncode == 0
    assert "No question sent yet" in (tmp_path / "w" / "report.html").read_text()
