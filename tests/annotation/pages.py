"""What the tests of the labelling pages share: to open a stream of tasks, to draw, to answer.

Nothing sleeps for a time that happened to be enough: each step waits for what the editor's own
store says.
"""

from __future__ import annotations

from typing import Any

# Every picture of the task is shown, and its canvas has kept its size for some frames: what is
# clicked or drawn before then lands elsewhere.
READY = """() => {
    const annotation = window.Htx?.annotationStore?.selected;
    const pictures = [...(annotation?.names?.values() ?? [])].filter(t => t.type === "image");
    if (!pictures.length || !pictures.every(p => p.imageIsLoaded && p.stageWidth > 1)) return false;
    const boxes = [...document.querySelectorAll(".konvajs-content canvas")].map(c => {
        const box = c.getBoundingClientRect();
        return [box.x, box.y, box.width, box.height];
    });
    const seen = JSON.stringify([boxes, pictures.map(p => [p.stageWidth, p.stageHeight])]);
    window.calmFrames = window.lastSeen === seen ? (window.calmFrames ?? 0) + 1 : 0;
    window.lastSeen = seen;
    return boxes.length > 0 && window.calmFrames >= 10;
}"""
PICKED = """([control, label, tool]) => {
    const names = window.Htx.annotationStore.selected.names;
    const manager = names.get("photo").getToolsManager();
    return names.get(control).selectedLabels.some(l => l.value === label)
        && manager.findSelectedTool()?.toolName === tool;
}"""
STAGE = """() => {
    const picture = window.Htx.annotationStore.selected.names.get("photo");
    const box = document.querySelector(".konvajs-content canvas").getBoundingClientRect();
    return [box.x, box.y, picture.stageWidth, picture.stageHeight];
}"""
REGIONS = "() => window.Htx.annotationStore.selected.regionStore.regions.length"
DRAWN = """count => {
    const annotation = window.Htx.annotationStore.selected;
    const regions = annotation.regionStore.regions;
    return regions.length === count && !annotation.isDrawing && !regions.some(r => r.isDrawing);
}"""


def open_stream(page: Any, address: str) -> None:
    page.goto(f"{address}?labeling=1")
    page.wait_for_selector('button:has-text("Submit")')
    page.wait_for_selector('img[src^="blob:"]', state="attached")
    page.wait_for_function(READY)


def pick_label(page: Any, key: str, control: str, label: str, *, tool: str) -> None:
    """Press a label's key, and wait until the editor has it and its tool in hand."""
    page.keyboard.press(key)
    page.wait_for_function(PICKED, arg=[control, label, tool])


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw from one place to another, each as shares of the picture's width and height; returns
    when the editor has the region that this makes."""
    page.wait_for_function(READY)
    before = page.evaluate(REGIONS)
    left, top, width, height = page.evaluate(STAGE)
    (x0, y0), (x1, y1) = ((left + width * x, top + height * y) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2, steps=4)
    page.mouse.move(x1, y1, steps=4)
    page.mouse.up()
    page.wait_for_function(DRAWN, arg=before + 1)


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
