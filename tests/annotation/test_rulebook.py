"""The merge rules, each on good and bad examples made from what a real server listed.

`exported.json` is the server's own listing of three tasks that a person answered in a browser.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from annotation.answers import ServerTask, pseudonym
from annotation.merge import Judging, Known, Merged, merge, spare_copies
from annotation.questions import FORMS
from annotation.roles import Roles
from annotation.rulebook import RULEBOOK, rulebook_page
from data_manifests.records import Annotation, Consensus, Photo, Task

ROOT = Path(__file__).parents[2]
EXPORTED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "exported.json").read_text()
)
Raw = dict[str, Any]
PREFIX = "/data/local-files/?d=media/"


def exported(kind: str = "triage") -> Raw:
    return copy.deepcopy(EXPORTED[kind])


def answer_of(task: Raw) -> Raw:
    return dict(task["annotations"][0])


def row_of(task: Raw) -> Task:
    data = task["data"]
    return Task(
        task_key=data["task_key"],
        photo_id=data["photo_id"],
        kind=data["task_key"].split(":")[1],
        state="sent",
        image_path=str(data["image"]).removeprefix(PREFIX),
        image_width=data["picture_width"],
        image_height=data["picture_height"],
        server="s",
        project_id=1,
        task_id=task["id"],
    )


def person(user_id: int | None) -> str:
    return pseudonym(b"secret", "s", user_id)


def merged(
    *listed: Raw,
    asked: list[Task] | None = None,
    known: tuple[Annotation, ...] = (),
    settled: tuple[Consensus, ...] = (),
    roles: Roles | None = None,
) -> Merged:
    tasks = [row_of(listed[0])] if asked is None else asked
    photos = {
        t.photo_id: Photo(
            photo_id=t.photo_id, path="p", state="kept", size_bytes=1, width=3400, height=5120
        )
        for t in tasks
    }
    how = Judging(
        "s",
        person,
        FORMS,
        keep_mask=lambda png: f"masks/{len(png)}.png",
        roles=roles or Roles(),
    )
    listing = [ServerTask.model_validate(t) for t in listed]
    return merge(Known(tasks, photos, known, settled), listing, how)


@dataclass(frozen=True)
class Case:
    number: int
    good: bool
    name: str
    check: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.number}-{'good' if self.good else 'bad'}-{self.name}"


CASES: list[Case] = []


def judged(
    number: int,
    name: str,
    change: Callable[[Raw, Raw], Any],
    state: str,
    flags: tuple[str, ...] = (),
    kind: str = "triage",
) -> None:
    """A case of one answer: `change` works on the task and its answer as the server lists them."""

    def check() -> None:
        task = exported(kind)
        change(task, task["annotations"][0])
        row = next(
            a
            for a in merged(task).annotations
            if a.annotation_id == f"s:{task['annotations'][0]['id']}"
        )
        assert (row.state, row.flags) == (state, flags)
        assert json.loads(row.raw) == task["annotations"][0]["result"]
        if state != "counted":
            assert (row.decision, row.semantic_tags, row.regions) == (None, (), ())

    CASES.append(Case(number, state == "counted" and not flags, name, check))


def case(number: int, *, good: bool) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def note(check: Callable[[], None]) -> Callable[[], None]:
        CASES.append(Case(number, good, check.__name__, check))
        return check

    return note


def items(answer: Raw, control: str) -> Iterator[Raw]:
    return (i for i in answer["result"] if i["from_name"] == control)


def drop(answer: Raw, control: str) -> None:
    answer["result"] = [i for i in answer["result"] if i["from_name"] != control]


def value_of(answer: Raw, control: str) -> Raw:
    return dict(next(items(answer, control)))["value"]  # type: ignore[no-any-return]


def as_it_came(task: Raw, answer: Raw) -> None:
    """Nothing is changed."""


def say(control: str, **value: Any) -> Callable[[Raw, Raw], None]:
    return lambda task, answer: next(items(answer, control))["value"].update(value)


def put(**values: Any) -> Callable[[Raw, Raw], None]:
    return lambda task, answer: answer.update(values)


# 1
judged(1, "an_answer", as_it_came, "counted")
judged(1, "a_skip_with_the_whole_form", put(was_cancelled=True), "skipped")


@case(1, good=False)
def an_answer_by_the_same_person_beats_their_later_skip() -> None:
    task = exported()
    skip = answer_of(task) | {"id": 9001, "was_cancelled": True, "updated_at": "2099-01-01T00:00Z"}
    task["annotations"].append(skip)
    states = {a.annotation_id: a.state for a in merged(task).annotations}
    assert states == {f"s:{task['annotations'][0]['id']}": "counted", "s:9001": "set_aside"}


# 2
@case(2, good=True)
def a_submitted_answer_is_no_draft() -> None:
    assert len(merged(exported()).annotations) == 1


@case(2, good=False)
def a_draft_makes_no_row() -> None:
    task = exported()
    task["drafts"], task["annotations"] = [answer_of(task)], []
    found = merged(task)
    assert (found.annotations, found.tasks[0].state) == ((), "sent")


# 3
judged(3, "answered", as_it_came, "counted")
judged(3, "empty", put(result=[]), "set_aside", ("missing_required",))
judged(3, "no_decision", lambda t, a: drop(a, "decision"), "set_aside", ("missing_required",))
judged(
    3,
    "a_box_without_its_priority",
    lambda t, a: drop(a, "priority"),
    "set_aside",
    ("missing_required",),
    kind="retouch",
)
judged(3, "a_box_with_one", as_it_came, "counted", kind="retouch")

# 4
judged(4, "known", as_it_came, "counted", kind="review")
judged(
    4,
    "unknown_value",
    say("decision", choices=["perhaps"]),
    "set_aside",
    ("unknown_choice",),
)
judged(
    4,
    "unknown_control",
    lambda t, a: next(items(a, "decision")).update(from_name="mood") or drop(a, "x"),
    "set_aside",
    ("unknown_question", "missing_required"),
)
judged(
    4,
    "other_kind",
    lambda t, a: next(items(a, "decision")).update(type="rating"),
    "set_aside",
    ("wrong_type",),
)
judged(4, "no_list", put(result={"decision": "accept"}), "set_aside", ("malformed",))
judged(
    4,
    "two_decisions",
    say("decision", choices=["accept", "reject"]),
    "set_aside",
    ("several_answers", "missing_required"),
)

# 5
judged(5, "inside", as_it_came, "counted")
judged(5, "at_the_edge", say("face_box", x=0, y=0, width=100, height=100.004), "counted")
judged(5, "x_180", say("face_box", x=180), "set_aside", ("geometry_out_of_range",))
judged(5, "no_area", say("face_box", width=0), "set_aside", ("geometry_out_of_range",))
judged(5, "turned", say("face_box", rotation=12), "set_aside", ("rotated_box",))
judged(
    5,
    "another_size",
    lambda t, a: next(items(a, "face_box")).update(original_width=1, original_height=1),
    "set_aside",
    ("other_picture",),
)


# 6
def two_of_one_id(task: Raw, answer: Raw) -> None:
    first, *_ = items(answer, "face_box")
    other = copy.deepcopy(first)
    other["value"]["x"] += 1
    answer["result"].append(other)


judged(6, "ids_of_their_own", as_it_came, "counted")
judged(6, "label_and_priority_share_one", as_it_came, "counted", kind="retouch")
judged(6, "two_boxes_of_one_id", two_of_one_id, "set_aside", ("region_clash",))


# 7
def again(task: Raw, **changes: Any) -> Raw:
    """One more answer to the task, by the same person and later unless it says otherwise."""
    later = copy.deepcopy(answer_of(task)) | {"id": 9001, "updated_at": "2099-01-01T00:00:00Z"}
    task["annotations"].append(later | changes)
    return task


@case(7, good=False)
def of_two_answers_of_a_person_the_last_counts() -> None:
    task = again(exported())
    value_of(task["annotations"][1], "decision")["choices"] = ["retouch"]
    found = merged(task)
    assert Counter((a.state, a.flags) for a in found.annotations) == {
        ("counted", ()): 1,
        ("set_aside", ("superseded",)): 1,
    }
    assert (found.settled[0].decision, found.settled[0].voters) == ("retouch", 1)


@case(7, good=True)
def answers_of_two_people_both_count() -> None:
    found = merged(again(exported(), completed_by=77, updated_by=77))
    assert {a.state for a in found.annotations} == {"counted"}
    assert found.settled[0].voters == 2


# 8
@case(8, good=True)
def two_of_three_decide() -> None:
    task = again(again(exported(), completed_by=77, updated_by=77))
    task["annotations"][2] |= {"id": 9002, "completed_by": 78, "updated_by": 78}
    value_of(task["annotations"][2], "decision")["choices"] = ["retouch"]
    (settled,) = merged(task).settled
    decision = value_of(task["annotations"][0], "decision")["choices"][0]
    assert (settled.decision, settled.conflict, settled.voters) == (decision, False, 3)
    assert settled.agreement == pytest.approx(2 / 3)


@case(8, good=False)
def one_against_one_is_a_conflict() -> None:
    task = again(exported(), completed_by=77, updated_by=77)
    value_of(task["annotations"][1], "decision")["choices"] = ["retouch"]
    (settled,) = merged(task).settled
    assert (settled.decision, settled.conflict) == (None, True)


# 9
judged(9, "one", as_it_came, "counted")


@case(9, good=False)
def a_second_ground_truth_is_set_aside_and_neither_votes() -> None:
    task = again(exported(), completed_by=77, updated_by=77, ground_truth=True)
    task["annotations"][0]["ground_truth"] = True
    found = merged(task)
    flags = {a.annotation_id: a.flags for a in found.annotations}
    assert flags.pop("s:9001") == ("second_ground_truth",)
    assert set(flags.values()) == {()}
    assert found.settled[0].voters == 0


# 10
judged(10, "its_author", as_it_came, "counted")
judged(10, "somebody_else", put(updated_by=77), "counted", ("edited_by_other",))


# 11
@case(11, good=True)
def an_answer_keeps_its_time_of_change() -> None:
    task = exported()
    (row,) = merged(task).annotations
    assert row.updated_at == datetime.fromisoformat(answer_of(task)["updated_at"])


@case(11, good=False)
def an_edit_is_another_version_of_the_same_row() -> None:
    (before,) = merged(exported()).annotations
    task = exported()
    task["annotations"][0]["updated_at"] = "2099-01-01T00:00:00Z"
    (after,) = merged(task, known=(before,)).annotations
    assert after.annotation_id == before.annotation_id
    assert after.updated_at != before.updated_at


# 12
@case(12, good=True)
def an_answer_that_stands_is_not_deleted() -> None:
    found = merged(exported())
    assert {a.state for a in merged(exported(), known=found.annotations).annotations} == {"counted"}


@case(12, good=False)
def an_answer_that_is_gone_stays_as_deleted_and_does_not_vote() -> None:
    (before,) = merged(exported()).annotations
    (settled,) = merged(exported()).settled
    emptied = exported() | {"annotations": []}
    found = merged(emptied, known=(before,), settled=(settled,))
    assert [replace(before, state="deleted")] == list(found.annotations)
    assert found.settled[0].voters == 0


# 13
@case(13, good=True)
def a_task_that_stands_is_labelled() -> None:
    found = merged(exported())
    assert (found.tasks[0].state, found.vanished) == ("labelled", 0)


@case(13, good=False)
def a_task_that_is_gone_stays_as_deleted_with_its_answers() -> None:
    task = exported()
    (before,) = merged(task).annotations
    found = merged(asked=[row_of(task)], known=(before,))
    assert (found.tasks[0].state, found.vanished) == ("deleted", 1)
    assert [a.state for a in found.annotations] == ["deleted"]


# 14
def at_desks(second_person: int) -> Merged:
    one, other = exported(), exported()
    other["id"], other["data"]["task_key"] = 9000, f"{one['data']['task_key']}:south"
    other["annotations"][0] |= {
        "id": 9001,
        "completed_by": second_person,
        "updated_by": second_person,
        "updated_at": "2099-01-01T00:00:00Z",
    }
    asked = [row_of(one), replace(row_of(other), desk="south")]
    return merged(one, other, asked=asked)


@case(14, good=True)
def two_people_at_two_desks_are_two_votes() -> None:
    assert at_desks(77).settled[0].voters == 2


@case(14, good=False)
def one_person_at_two_desks_is_one_vote() -> None:
    found = at_desks(answer_of(exported())["completed_by"])
    assert found.settled[0].voters == 1
    assert ("superseded",) in {a.flags for a in found.annotations}


# 15
def shown_another(task: Raw, answer: Raw) -> None:
    task["data"]["image"] = f"{PREFIX}proxies/other.jpg"


@case(15, good=True)
def the_task_shows_what_was_sent() -> None:
    assert {a.state for a in merged(exported()).annotations} == {"counted"}


@case(15, good=False)
def a_task_that_shows_another_picture_is_stale() -> None:
    task = exported()
    row = row_of(task)
    for change in (
        lambda data: data.update(image=f"{PREFIX}proxies/other.jpg"),
        lambda data: data.update(photo_id="another"),
        lambda data: data.update(picture_width=1),
    ):
        other = exported()
        change(other["data"])
        (found,) = merged(other, asked=[row]).annotations
        assert (found.state, found.flags) == ("set_aside", ("stale_task",))


# 16
def all_predicted(task: Raw, answer: Raw) -> None:
    for item in answer["result"]:
        if item["from_name"] != "decision":
            item["origin"] = "prediction"
    answer["lead_time"] = 1.2


def one_moved(task: Raw, answer: Raw) -> None:
    all_predicted(task, answer)
    next(items(answer, "face_box"))["origin"] = "prediction-changed"


judged(16, "slow_enough", put(lead_time=9.0), "counted")
judged(16, "quick_but_moved_the_box", one_moved, "counted")
judged(16, "all_taken_in_a_second", all_predicted, "counted", ("rubber_stamp",))

# 17
judged(17, "a_person_began_from_a_suggestion", put(parent_prediction=5, lead_time=9.0), "counted")
judged(
    17,
    "the_server_s_bulk_action",
    put(parent_prediction=5, lead_time=None),
    "set_aside",
    ("machine_label",),
)


# 18
@case(18, good=True)
def the_server_s_clock_decides_what_came_last() -> None:
    task = again(exported(), updated_at="2001-01-01T00:00:00Z", created_at="2099-01-01T00:00:00Z")
    counted = [a for a in merged(task).annotations if a.state == "counted"]
    assert [a.annotation_id for a in counted] == [f"s:{answer_of(task)['id']}"]


@case(18, good=False)
def a_time_that_a_person_wrote_into_the_answer_is_not_read() -> None:
    task = exported()
    task["annotations"][0]["result"][0]["value"]["updated_at"] = "2099-01-01T00:00:00Z"
    task["annotations"][0]["draft_created_at"] = "2099-01-01T00:00:00Z"
    (row,) = merged(task).annotations
    assert row.updated_at is not None
    assert row.updated_at < datetime(2099, 1, 1, tzinfo=UTC)


# 19
@case(19, good=True)
def a_question_that_stands_once_has_no_spare_copy() -> None:
    assert spare_copies([ServerTask.model_validate(exported())], {}) == []


@case(19, good=False)
def of_two_copies_the_one_that_nobody_answered_is_spare() -> None:
    one, other = exported(), exported() | {"id": 9000}
    both = [ServerTask.model_validate(t) for t in (one, other)]
    assert spare_copies(both, {one["id"]: 1}) == [9000]


# 20
judged(20, "painted", as_it_came, "counted", kind="brush")
judged(
    20,
    "another_size",
    lambda t, a: next(items(a, "texture_mask"))["value"].update(rle=[0, 0, 0, 1]),
    "set_aside",
    ("unreadable_mask",),
    kind="brush",
)
judged(20, "no_list", say("texture_mask", rle="x"), "set_aside", ("unreadable_mask",), kind="brush")

# 21
judged(21, "one_picture", lambda t, a: next(items(a, "face_box")).update(item_index=0), "counted")
judged(
    21,
    "the_third_of_several",
    lambda t, a: next(items(a, "face_box")).update(item_index=2),
    "set_aside",
    ("other_item",),
)


# 22
@case(22, good=True)
def plain_text_is_kept() -> None:
    task = exported()
    value_of(task["annotations"][0], "caption")["text"] = ["A portrait, two\nlines."]
    assert merged(task).annotations[0].caption == "A portrait, two\nlines."


@case(22, good=False)
def odd_text_is_made_plain() -> None:
    task = exported()
    value_of(task["annotations"][0], "caption")["text"] = ["  e\u0301te\u0301\u0000\u200b \x1b[31m"]
    assert merged(task).annotations[0].caption == "\u00e9t\u00e9 [31m"
    value_of(task["annotations"][0], "caption")["text"] = ["x" * 5000]
    assert len(merged(task).annotations[0].caption or "") == 2000


# 23
@case(23, good=True)
def every_task_ends_in_one_state() -> None:
    answered, waiting = exported(), exported() | {"id": 9000, "annotations": []}
    waiting["data"] = waiting["data"] | {"task_key": "w:triage:1", "photo_id": "w"}
    gone = replace(row_of(answered), task_key="g:triage:1", photo_id="g", task_id=9001)
    asked = [row_of(answered), row_of(waiting), gone]
    found = merged(answered, waiting, asked=asked)
    assert Counter(t.state for t in found.tasks) == {"labelled": 1, "sent": 1, "deleted": 1}


@case(23, good=False)
def a_task_of_somebody_else_is_not_counted() -> None:
    foreign = exported() | {"id": 9000, "data": {"image": "/x"}}
    assert len(merged(exported(), foreign).tasks) == 1


# 24
@case(24, good=True)
def the_same_pull_twice_gives_the_same_rows() -> None:
    first = merged(exported())
    second = merged(
        exported(), asked=list(first.tasks), known=first.annotations, settled=first.settled
    )
    assert (second.annotations, second.tasks, second.settled) == (
        first.annotations,
        first.tasks,
        first.settled,
    )


@case(24, good=False)
def what_changed_changes_its_rows() -> None:
    first = merged(exported())
    task = exported()
    value_of(task["annotations"][0], "decision")["choices"] = ["retouch"]
    second = merged(task, asked=list(first.tasks), known=first.annotations)
    assert second.annotations != first.annotations


# 25
@case(25, good=True)
def a_person_has_one_pseudonym_and_no_name() -> None:
    task = exported()
    (row,) = merged(task).annotations
    assert row.annotator == person(answer_of(task)["completed_by"])
    assert len(row.annotator) == 16
    assert "@" not in str(row)


@case(25, good=False)
def nobody_is_unknown() -> None:
    task = exported()
    task["annotations"][0] |= {"completed_by": None, "updated_by": None}
    assert merged(task).annotations[0].annotator == "unknown"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_example_is_decided_as_its_rule_says(case: Case) -> None:
    case.check()


# 26
@case(26, good=True)
def whoever_has_the_role_is_counted_and_a_skip_is_nobody_s_business() -> None:
    task = exported()
    who = person(task["annotations"][0]["completed_by"])
    (found,) = merged(task, roles=Roles({who: ["photographer"]})).annotations
    assert found.state == "counted"
    (found,) = merged(task, roles=Roles({"another": ["reviewer"]})).annotations
    assert found.state == "counted"
    task["annotations"][0]["was_cancelled"] = True
    (found,) = merged(task, roles=Roles({who: []})).annotations
    assert (found.state, found.flags) == ("skipped", ())


@case(26, good=False)
def whoever_has_another_role_is_set_aside_with_the_raw_json() -> None:
    task = exported()
    who = person(task["annotations"][0]["completed_by"])
    for roles in (Roles({who: ["reviewer", "retoucher"]}), Roles({}, others=["reviewer"])):
        found = merged(task, roles=roles)
        (row,) = found.annotations
        assert (row.state, row.flags, row.decision) == ("set_aside", ("not_their_role",), None)
        assert json.loads(row.raw) == task["annotations"][0]["result"]
        assert [t.state for t in found.tasks] == ["set_aside"]
    later = replace(row_of(task), round=2)
    for held, state in (("adjudicator", "counted"), ("photographer", "set_aside")):
        (row,) = merged(task, asked=[later], roles=Roles({who: [held]})).annotations
        assert row.state == state


# 27
def conflict_and_judge(judge: int, **how: Any) -> Any:
    """Two voters disagree; then user `judge` answers the next round."""
    accept, other, last = exported(), exported(), exported()
    value_of(other["annotations"][0], "decision")["choices"] = ["retouch"]
    for number, (task, user) in enumerate(((accept, 2), (other, 3), (last, judge)), 1):
        task["annotations"][0].update({"id": number, "completed_by": user, "updated_by": user})
    accept["annotations"] += other["annotations"]
    first, second = row_of(accept), replace(row_of(last), round=2)
    second = replace(second, task_key=f"{second.photo_id}:triage:2", task_id=second.task_id + 1)
    last["id"], last["data"]["task_key"] = second.task_id, second.task_key
    return merged(accept, last, asked=[first, second], **how)


@case(27, good=True)
def somebody_who_did_not_vote_settles_a_conflict() -> None:
    found = conflict_and_judge(4)
    assert [a.state for a in found.annotations] == ["counted"] * 3
    assert [(c.conflict, c.adjudicated) for c in found.settled] == [(False, True)]
    allowed = conflict_and_judge(2, roles=Roles(voters_may_settle=True))
    assert [c.adjudicated for c in allowed.settled] == [True]


@case(27, good=False)
def who_voted_does_not_settle_what_the_voters_left_open() -> None:
    found = conflict_and_judge(2)
    assert [a.state for a in found.annotations] == ["counted", "counted", "set_aside"]
    assert found.annotations[2].flags == ("own_conflict",)
    assert [t.state for t in found.tasks] == ["labelled", "set_aside"]
    assert [(c.conflict, c.decision) for c in found.settled] == [(True, None)]


def test_every_rule_has_good_and_bad_examples() -> None:
    told = {(c.number, c.good) for c in CASES}
    assert [r.number for r in RULEBOOK] == list(range(1, 28))
    assert told == {(n, good) for n in range(1, 28) for good in (True, False)}


def test_the_page_of_rules_is_as_the_rules_are() -> None:
    assert (ROOT / "docs" / "merge-rules.md").read_text() == rulebook_page()
