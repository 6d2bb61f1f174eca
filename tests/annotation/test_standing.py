"""Who may move a photo from where to where, and where the tables say it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from annotation.comparison import review_outcome, review_outcomes, review_task, superseded
from annotation.standing import MOVES, WAITS_FOR, move, standings
from data_manifests.errors import InputError
from data_manifests.records import Annotation, Consensus, Retouch, Standing, Task, Verdict

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
ROLES = ("photographer", "adjudicator", "retoucher", "reviewer", "toolkit")


def at(state: str) -> Standing:
    return Standing(photo_id="p", state=state, waits_for=WAITS_FOR[state], moved_by="toolkit")


def said(decision: str | None, **more: bool) -> Consensus:
    values = {"conflict": False, **more}
    return Consensus(photo_id="p", decision=decision, voters=2, **values)


def back(state: str = "waiting", round_: int = 1, *verdicts: Verdict) -> Retouch:
    return Retouch(
        retouch_id=f"r{round_}",
        photo_id="p",
        path="x",
        match_method="id",
        match_score=1,
        round=round_,
        state=state,
        verdicts=verdicts,
    )


def answer(decision: str, number: int = 1, **more: object) -> Annotation:
    return Annotation(
        annotation_id=str(number),
        task_key="p:review:1",
        photo_id="p",
        annotator=str(number),
        state="counted",
        decision=decision,
        raw="",
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("to", WAITS_FOR)
@pytest.mark.parametrize("state", WAITS_FOR)
def test_only_the_roles_of_a_move_make_it(state: str, to: str, role: str) -> None:
    if role in MOVES.get((state, to), ()):
        moved = move(at(state), to, by=role, why="", now=NOW)
        assert (moved.state, moved.waits_for, moved.since) == (to, WAITS_FOR[to], NOW)
        assert moved.round == (1 if to == "retouch" else 0)
    else:
        with pytest.raises(InputError, match=rf"stands at {state}"):
            move(at(state), to, by=role, why="", now=NOW)


def test_a_retoucher_can_never_approve_or_reject() -> None:
    assert not [m for m, roles in MOVES.items() if "retoucher" in roles and m[1] != "review"]


@pytest.mark.parametrize(
    ("consensus", "retouches", "state", "round_", "by"),
    [
        (None, (), "triage", 0, "toolkit"),
        (said(None, conflict=True), (), "adjudication", 0, "toolkit"),
        (said("accept"), (), "done", 0, "photographer"),
        (said("accept", adjudicated=True), (), "done", 0, "adjudicator"),
        (said("reject"), (back(),), "rejected", 0, "photographer"),
        (said("retouch"), (), "retouch", 1, "photographer"),
        (said("retouch"), (back(),), "review", 1, "retoucher"),
        (said("retouch"), (back("fix"),), "retouch", 2, "reviewer"),
        (
            said("retouch"),
            (back("fix", 1, Verdict(gate="x", keep=False)),),
            "retouch",
            2,
            "toolkit",
        ),
        (said("retouch"), (back("fix"), back("waiting", 2)), "review", 2, "retoucher"),
        (said("retouch"), (back("approved"),), "done", 1, "reviewer"),
        (said("retouch"), (back("rejected"),), "rejected", 1, "reviewer"),
    ],
)
def test_the_tables_say_where_a_photo_stands(
    consensus: Consensus | None, retouches: tuple[Retouch, ...], state: str, round_: int, by: str
) -> None:
    task = Task(
        task_key="p:triage:1",
        photo_id="p",
        kind="triage",
        state="sent",
        image_path="",
        image_width=1,
        image_height=1,
    )
    settled = [consensus] if consensus else []
    (stands,) = standings([], settled, retouches, [task], now=NOW)
    assert (stands.state, stands.round, stands.moved_by) == (state, round_, by)
    assert standings([], settled, retouches, [task], earlier=[stands], now=LATER) == [stands]


def test_a_review_settles_the_retouch_and_a_withdrawn_answer_opens_it_again() -> None:
    assert review_outcome(back(), [answer("approve")]).retouch.state == "approved"
    fixed = review_outcome(back(), [answer("fix", reasons=("halo_or_seam",), note="left ear")])
    assert (fixed.retouch.state, fixed.next_round) == ("fix", 2)
    assert fixed.retouch.reasons == ("halo_or_seam", "left ear")
    assert review_outcome(back(), [answer("reject")]).retouch.state == "rejected"
    assert review_outcome(fixed.retouch, []).retouch == back()


def test_reviewers_who_disagree_or_are_too_few_leave_it_waiting() -> None:
    split = [answer("approve"), answer("fix", 2)]
    assert review_outcome(back(), split).retouch.state == "waiting"
    assert review_outcome(back(), [answer("approve")], wanted=2).retouch.state == "waiting"


def test_what_the_checks_sent_back_no_review_approves() -> None:
    failed = back("fix", 1, Verdict(gate="texture_1", keep=False, reason="smoothed"))
    assert review_outcome(failed, [answer("approve")]).retouch == failed


def test_a_review_is_asked_once_and_finds_its_retouch_again() -> None:
    task = review_task(back(), ("comparisons/x.jpg", 10, 10), [])
    assert task is not None
    assert review_task(back(), ("comparisons/x.jpg", 10, 10), [task]) is None
    assert review_task(back("fix"), ("comparisons/x.jpg", 10, 10), []) is None
    (after,) = review_outcomes([back()], [task], [answer("approve")])
    assert after.state == "approved"


def test_a_newer_file_withdraws_the_open_review_of_an_older_one() -> None:
    task = review_task(back(), ("comparisons/x.jpg", 10, 10), [])
    assert task is not None
    sent = replace(task, task_key="p:review:9", state="sent")
    answered = replace(task, task_key="p:review:8", state="labelled")
    old, tasks = superseded(back(), back("waiting", 2), [task, sent, answered])
    assert (old.state, old.reasons) == ("superseded", ("round 2 came back before it was reviewed",))
    assert [(t.task_key, t.state) for t in tasks] == [
        ("p:review:1", "deleted"),
        ("p:review:9", "sent"),
    ]
    assert tasks[1].note == "round 2 came back before it was reviewed"
    assert review_outcome(old, [answer("approve")]).retouch == old
    (stands,) = standings([], [said("retouch")], [old, back("waiting", 2)], [], now=NOW)
    assert (stands.state, stands.round) == ("review", 2)
