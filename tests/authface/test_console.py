from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from authface import console

LONG = "AF-0123456789abcdef0123456789abcdef0123456789abcdef-r1.tif"


def in_a_terminal(code: str, columns: int) -> str:
    """What a person sees who runs the code in a terminal of so many columns."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, env=env, cwd=Path(__file__).parents[2]
    ) as process:
        os.close(theirs)
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:  # the terminal's other end is closed
            pass
        assert process.wait(60) == 0
    os.close(ours)
    # What is left of its looks (bold, italics) is no part of the text.
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r", ""))


def table_of(name: str, words: str) -> str:
    row = f"[({name!r}, {words!r})]"
    return f"from authface import console\nconsole.table('T', ('name', 'words'), {row})"


def test_a_terminal_too_narrow_for_the_longest_word_gets_rows_below_each_other() -> None:
    shown = in_a_terminal(table_of(LONG, "what to do with it"), 62)
    assert f"name   {LONG}\nwords  what to do with it\n" in shown


def test_a_terminal_that_is_wide_enough_breaks_lines_between_words_only() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen"
    shown = in_a_terminal(table_of(LONG, words), 80)
    lines = [line for line in shown.splitlines() if "│" in line]
    assert len(lines) > 1
    assert LONG in lines[0]
    assert " ".join(line.split("│")[1].strip() for line in lines) == words
    assert max(map(len, shown.splitlines())) <= 80


def test_a_pipe_gets_each_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("T", ("name", "words"), [(LONG, "word " * 40)])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if LONG in line]
    assert row.count("word") == 40


@pytest.mark.parametrize(("n", "said"), [(0, "0 rows"), (1, "1 row"), (2000, "2,000 rows")])
def test_a_number_has_its_noun(n: int, said: str) -> None:
    assert console.counted(n, "row") == said


def test_without_a_terminal_progress_counts_what_was_done_before_and_times_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line every ten seconds; here each item takes a minute."""
    clock = iter(range(0, 60 * 1000, 60))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    assert list(console.track(range(2), 300, label="run", done=100)) == [0, 1]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("  run: 101 of 300, ")
    assert second.startswith("  run: 102 of 300, ")
    assert re.search(r"\d+ h \d+ min left$", second)
