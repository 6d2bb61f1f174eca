"""Run commands one after another as a user would type them, and keep what they printed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from authface import console
from data_manifests.errors import AuthFaceError

__all__ = ["Server", "Step", "Walk"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what came of it."""

    command: str
    code: int
    seconds: float
    output: str


@dataclass
class Walk:
    """A walk through the commands in one workspace."""

    workspace: Path
    steps: list[Step] = field(default_factory=list)

    def run(self, *arguments: str, fine: Sequence[int] = (0,)) -> Step:
        """Run `authface ARGUMENTS` and show its lines; stop the walk unless its code is fine."""
        shown = "authface " + shlex.join(arguments)
        console.heading(f"$ {shown}")
        start = time.monotonic()
        lines = []
        with subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        ) as process:
            for line in process.stdout or ():
                lines.append(line)
                console.say("  " + line.rstrip("\n"))
        step = Step(shown, process.returncode, time.monotonic() - start, "".join(lines))
        self.steps.append(step)
        if step.code not in fine:
            raise AuthFaceError(
                f"`{shown}` ended with exit code {step.code}.", "Its lines above say why."
            )
        return step

    def serve(self, *arguments: str, ready: str, timeout_s: float) -> Server:
        """Start `authface ARGUMENTS` and wait until it prints a line that holds `ready`."""
        shown = "authface " + shlex.join(arguments)
        console.heading(f"$ {shown} &")
        log = self.workspace / "serve.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                self._command(arguments),
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment(),
            )
        server = Server(shown, process, log)
        try:
            server.wait_for(ready, timeout_s)
        except BaseException:
            server.stop()
            raise
        return server

    def save(self, file: Path) -> None:
        """Write what was run, for the report."""
        file.write_text(json.dumps([asdict(s) for s in self.steps], indent=1))

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "authface.cli", *arguments]

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "AUTHFACE_WORKSPACE": str(self.workspace),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "110",
        }


@dataclass
class Server:
    """A command that runs until it is told to stop."""

    shown: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, ready: str, timeout_s: float) -> None:
        """Show its lines until one holds `ready`."""
        deadline = time.monotonic() + timeout_s
        said = 0
        while time.monotonic() < deadline:
            lines = self.log.read_text().splitlines()
            for line in lines[said:]:
                console.say("  " + line)
            said = len(lines)
            if any(ready in line for line in lines):
                return
            if self.process.poll() is not None:
                raise AuthFaceError(
                    f"`{self.shown}` ended with exit code {self.process.returncode}.",
                    "Its lines above say why.",
                )
            time.sleep(0.3)
        raise AuthFaceError(
            f"`{self.shown}` was not ready in {timeout_s:.0f} s.", f"See {self.log}."
        )

    def stop(self) -> None:
        """Ask it to stop, and wait.

        Not as Ctrl-C would: a walk in the background of a shell hands its children a Ctrl-C that
        they ignore.
        """
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
