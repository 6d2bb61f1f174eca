"""What happens to every answer that the server lists: 27 rules by name, for people and tests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RULEBOOK", "MergeRule", "rulebook_page"]


@dataclass(frozen=True, slots=True)
class MergeRule:
    """One rule: where it does not hold, `then` is what happens."""

    number: int
    name: str
    says: str
    then: str
    flags: tuple[str, ...] = ()  # as they stand in an Annotation's row


RULEBOOK: tuple[MergeRule, ...] = (
    MergeRule(
        1,
        "skip_is_no_answer",
        "A skipped task carries the whole prefilled form, and none of it is an answer.",
        "kept as skipped, with who and when; an answer by the same person wins",
    ),
    MergeRule(
        2,
        "draft_is_no_answer",
        "What was never submitted is not merged.",
        "counted by the pull; told after a day",
    ),
    MergeRule(
        3,
        "required_is_answered",
        "A question that must be answered is, however the answer reached the server.",
        "set aside; a reject by a flag in XMP, which has no place for reasons, counts and is"
        " marked",
        ("missing_required", "unexplained"),
    ),
    MergeRule(
        4,
        "known_to_the_form",
        "Controls, their kinds and their values are those of the form that was asked.",
        "set aside with the raw JSON",
        ("unknown_question", "wrong_type", "unknown_choice", "several_answers", "malformed"),
    ),
    MergeRule(
        5,
        "geometry_inside",
        "Regions lie inside the picture that was sent, have an area, and are not turned.",
        "set aside",
        ("geometry_out_of_range", "rotated_box", "other_picture"),
    ),
    MergeRule(
        6,
        "one_region_an_id",
        "What is said of a region belongs to the one region of that id.",
        "set aside",
        ("region_clash",),
    ),
    MergeRule(
        7,
        "last_answer_counts",
        "Of one person's answers to a question the last one counts.",
        "the older ones are kept as superseded",
        ("superseded",),
    ),
    MergeRule(
        8,
        "voters_are_settled",
        "Several people's answers become one: majority, median, overlap, share.",
        "a tie is a conflict and goes to one more person",
    ),
    MergeRule(
        9,
        "one_ground_truth",
        "A task has one ground truth; it scores people and does not vote.",
        "a second one is set aside",
        ("second_ground_truth",),
    ),
    MergeRule(
        10,
        "edited_by_its_author",
        "Who changed an answer last is who gave it.",
        "both are noted, and it counts",
        ("edited_by_other",),
    ),
    MergeRule(
        11,
        "samples_cite_versions",
        "A sample names the version of each answer it was made from.",
        "an edit afterwards is told; what a run pinned never changes",
    ),
    MergeRule(
        12,
        "deleted_answer_stays_told",
        "An answer that is gone from its task is not forgotten.",
        "its row stays as deleted and no longer votes",
    ),
    MergeRule(
        13,
        "deleted_task_stays_told",
        "A task that is gone from its project is not forgotten.",
        "its row stays as deleted; if most are gone the pull stops",
    ),
    MergeRule(
        14,
        "one_vote_a_person",
        "A question that stands twice, or at two desks, is one question.",
        "a person's last answer counts, the other is superseded",
        ("superseded",),
    ),
    MergeRule(
        15,
        "question_unchanged",
        "The task still shows the photo and the picture that were sent.",
        "set aside",
        ("stale_task",),
    ),
    MergeRule(
        16,
        "looked_at",
        "Taking all suggestions as they came takes longer than two seconds.",
        "marked, and it counts",
        ("rubber_stamp",),
    ),
    MergeRule(
        17,
        "made_by_a_person",
        "A suggestion that the server turned into an answer is nobody's.",
        "set aside",
        ("machine_label",),
    ),
    MergeRule(
        18,
        "server_time_only",
        "What came last is told by the server's clock alone.",
        "other clocks are not read",
    ),
    MergeRule(
        19,
        "one_task_a_question",
        "A question is sent once, whatever broke off while it was sent.",
        "a second copy that nobody answered is removed by the next push",
    ),
    MergeRule(
        20,
        "mask_fits",
        "A painted area can be read, is not empty, and has the size of the picture.",
        "set aside",
        ("unreadable_mask",),
    ),
    MergeRule(
        21,
        "right_picture_of_several",
        "An answer is about the one picture that the task shows.",
        "set aside",
        ("other_item",),
    ),
    MergeRule(
        22,
        "text_is_plain",
        "Text is trimmed, in one Unicode form, without control signs, and of a sane length.",
        "made so; the raw JSON keeps what was written",
    ),
    MergeRule(
        23,
        "tasks_add_up",
        "Labelled, skipped, waiting, set aside and deleted tasks are those that were sent.",
        "printed by every pull",
    ),
    MergeRule(
        24,
        "second_pull_changes_nothing",
        "Pulling the same answers twice gives the same tables.",
        "no new version is written",
    ),
    MergeRule(
        25,
        "people_are_pseudonyms",
        "Tables hold nobody's name, number on the server, or e-mail address.",
        "a keyed pseudonym; unknown people are `unknown`",
    ),
    MergeRule(
        26,
        "role_may_answer",
        "A question is answered by somebody whose roles in the people file cover it.",
        "set aside; without a file everybody may answer everything",
        ("not_their_role",),
    ),
    MergeRule(
        27,
        "settled_by_others",
        "What voters disagree on is settled by somebody who did not vote on that photo.",
        "set aside, and the next push asks again; `voters_may_settle` under [annotate] lets it"
        " count",
        ("own_conflict",),
    ),
)


def rulebook_page() -> str:
    """The rules as a Markdown page."""
    rows = [
        f"| {r.number} | `{r.name}` | {r.says} | {r.then}"
        f"{': ' + ', '.join(f'`{f}`' for f in r.flags) if r.flags else ''} |"
        for r in RULEBOOK
    ]
    return "\n".join(
        (
            "# What happens to an answer",
            "",
            "Made from `annotation/rulebook.py` by `authface annotate rules --markdown >"
            " docs/merge-rules.md`; don't edit it.",
            "",
            "Label Studio takes what it is sent, so every answer is judged by `authface annotate"
            " pull`. What a rule sets aside keeps its raw JSON in the table `annotations`, with the"
            " names at the end of its row as flags: never merged, never lost.",
            "",
            "| | rule | it says | else |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )
