"""What surrounds an answer: whose it is, how it came about, and whether the question still stands.

`SET_ASIDE` rules refuse an answer, `REMARKS` only mark it: it counts, and the mark stands in its
row for whoever judges the person's work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from annotation.answers import Reading, ServerTask

__all__ = ["REMARKS", "RUBBER_STAMP", "SET_ASIDE", "refused", "remarks"]

RUBBER_STAMP = "rubber_stamp"
LEAST_S = 2.0  # nobody looks at a portrait, its boxes and its tags in less

Rule = Callable[[Reading, ServerTask], bool]

_LABELS = ("rectanglelabels", "keypointlabels", "brushlabels")


def refused(reading: Reading, task: ServerTask) -> tuple[str, ...]:
    """Names of the rules that refuse an answer; a skip is not judged: nothing of it is used."""
    if reading.answer.was_cancelled or reading.items is None:
        return ()
    return tuple(name for name, breaks in SET_ASIDE.items() if breaks(reading, task))


def remarks(reading: Reading, task: ServerTask) -> tuple[str, ...]:
    """Names of what is odd about an answer that counts all the same."""
    if reading.items is None:
        return ()
    return tuple(name for name, holds in REMARKS.items() if holds(reading, task))


def _stale_task(reading: Reading, task: ServerTask) -> bool:
    """The task asks about another photo, or shows another picture, than we sent."""
    asked, data = reading.asked.task, task.data
    told: Mapping[str, object] = {
        "photo_id": asked.photo_id,
        "picture_width": asked.image_width,
        "picture_height": asked.image_height,
    }
    differs = any(key in data and data[key] != value for key, value in told.items())
    return differs or asked.image_path not in str(data.get("image", asked.image_path))


def _machine_label(reading: Reading, task: ServerTask) -> bool:
    """A suggestion turned into an answer by the server's bulk action: no person took any time."""
    return not reading.answer.lead_time and reading.answer.parent_prediction is not None


def _second_ground_truth(reading: Reading, task: ServerTask) -> bool:
    """A task has one ground truth, the oldest: two would score people against each other."""
    truths = sorted(a.id for a in task.annotations if a.ground_truth and not a.was_cancelled)
    return reading.answer.ground_truth and reading.answer.id != truths[0]


def _region_clash(reading: Reading, task: ServerTask) -> bool:
    """Two regions with one id: their labels, and what is said of each, can't be told apart."""
    by_id: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    for item in reading.items or ():
        if item.type in _LABELS and item.id:
            v = item.value
            by_id[item.id].add((v.x, v.y, v.width, v.height, float(_LABELS.index(item.type))))
    return any(len(places) > 1 for places in by_id.values())


def _other_item(reading: Reading, task: ServerTask) -> bool:
    """An answer about another picture of a task that shows several: ours show one."""
    return any(item.item_index not in (None, 0) for item in reading.items or ())


def _rubber_stamp(reading: Reading, task: ServerTask) -> bool:
    """All suggestions taken as they came, faster than anybody can look at them."""
    taken = [i for i in reading.items or () if i.from_name in _suggested(reading)]
    lead = reading.answer.lead_time
    quick = lead is not None and lead < LEAST_S
    return quick and bool(taken) and all(i.origin == "prediction" for i in taken)


def _suggested(reading: Reading) -> set[str]:
    columns = ("semantic", "photographic", "regions")
    return {q.name for q in reading.asked.form.questions if q.column in columns}


def _edited_by_other(reading: Reading, task: ServerTask) -> bool:
    """Somebody else changed the answer last: on this server everybody may."""
    answer = reading.answer
    return None not in (answer.updated_by, answer.completed_by) and (
        answer.updated_by != answer.completed_by
    )


SET_ASIDE: dict[str, Rule] = {
    "stale_task": _stale_task,
    "machine_label": _machine_label,
    "second_ground_truth": _second_ground_truth,
    "region_clash": _region_clash,
    "other_item": _other_item,
}
REMARKS: dict[str, Rule] = {RUBBER_STAMP: _rubber_stamp, "edited_by_other": _edited_by_other}
