"""Waiting for something in a page whose policy forbids it to evaluate text."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["until"]


def until(page: Any, expression: str, arg: Any = None, *, seconds: float = 30) -> None:
    """Wait until the expression holds.

    Playwright's own wait asks once from outside and then has the page evaluate the text again and
    again, which such a policy refuses: it works as long as the first answer is yes.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, f"never held: {expression}"
        page.wait_for_timeout(50)
