"""What the tests of the labelling pages share: to open a stream of tasks, and to answer."""

from __future__ import annotations

from typing import Any


def open_stream(page: Any, address: str) -> None:
    page.goto(f"{address}?labeling=1")
    page.wait_for_selector('button:has-text("Submit")')
    page.wait_for_selector('img[src^="blob:"]', state="attached")
    page.wait_for_function("window.Htx?.annotationStore?.selected?.names?.size > 0")
    page.wait_for_timeout(1000)


def submit(page: Any) -> dict[str, Any]:
    with page.expect_response(is_answer) as reply:
        page.click('button:has-text("Submit")')
    return dict(reply.value.json())


def is_answer(reply: Any) -> bool:
    return "/annotations" in reply.url and reply.request.method == "POST"


def seen_without_scrolling(page: Any, *words: str) -> bool:
    """Whether the page is no larger than the window, and Submit and these words stand inside it."""
    if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
        return False
    window = page.viewport_size
    spots = [page.locator('button:has-text("Submit")').bounding_box()]
    spots += [page.locator(f'text="{w}"').first.bounding_box() for w in words]
    return all(
        spot is not None
        and spot["x"] + spot["width"] <= window["width"]
        and spot["y"] + spot["height"] <= window["height"]
        for spot in spots
    )
