"""What the tests of commands share."""

from __future__ import annotations

import pytest

from authface import console


@pytest.fixture
def fresh_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich keeps the stream that it first wrote to; each command here has one of its own."""
    console._console.cache_clear()
    monkeypatch.setenv("COLUMNS", "200")
