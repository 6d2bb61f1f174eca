"""The one schema: every question put to photographers, its values and their words.

The form, the suggestions and the parser of answers all come from here, so they can't drift apart.
A team's own questions and words are laid over it in `team`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from annotation.form import Choice, Column, Form, Question, named, tag_questions
from annotation.tags import PHOTOGRAPHIC, SEMANTIC
from data_manifests.records import LANDMARK_NAMES

__all__ = [
    "FORMS",
    "RETOUCH",
    "REVIEW",
    "TRIAGE",
    "Choice",
    "Column",
    "Form",
    "Question",
    "named",
    "tag_questions",
]

# Keys left over for reasons; one without a key would get one from the editor, its tools' too.
_FREE_KEYS = "67890qwdgzcyijl"
_LANDMARK_COLOURS = ("#d95f02", "#e7298a", "#66a61e", "#e6ab02", "#1f78b4")


def _choices(
    said: str, keys: Iterable[str] = (), colours: Iterable[str] = ()
) -> tuple[Choice, ...]:
    """A choice from each line "value: help", with the next key and colour as far as they go."""
    lines = [line.partition(":") for line in said.strip().splitlines()]
    return tuple(
        Choice(line[0].strip(), hotkey=key, colour=colour, help=line[2].strip())
        for line, key, colour in zip_longest(lines, keys, colours, fillvalue="")
        if isinstance(line, tuple)
    )


_DECISIONS = _choices(
    """
    accept: good enough to learn from as it is
    retouch: good, once a retoucher has cleaned it up
    reject: nothing would make it good enough
    """,
    "atx",
)
_REASONS = _choices(
    """
    soft_focus: the eyes are not sharp
    motion_blur: the person or the camera moved
    noise: grain hides the skin
    compression: blocks or ringing from strong compression
    over_retouched: skin or shape was retouched beyond repair
    beauty_filter: an app smoothed or reshaped the face
    ai_generated: made or changed by a generator
    watermark_or_text: letters or logos in the picture
    occluded_face: a hand, hair or thing hides part of the face
    extreme_pose: turned so far that the face can't be aligned
    clipped_exposure: skin is burnt out or black
    face_too_small: too few pixels for a crop
    duplicate: another picture of the series is the better one
    minor_or_consent: may be under age, or the consent is in doubt
    other: none of these; say which
    """,
    _FREE_KEYS,
)
_FIXES = _choices(
    """
    over_smoothed: the skin has lost its texture
    identity_changed: it looks like somebody else
    eyes_or_teeth: eyes, catchlights or teeth are wrong
    colour_shift: skin or background changed colour
    halo_or_seam: an edge, glow or clone mark is seen
    misaligned: shifted, scaled or cropped
    artifacts: patterns that no photograph has
    resolution_loss: softer or smaller than before
    wrong_picture: another picture, or another face
    other: none of these; say which
    """,
    _FREE_KEYS,
)
_AREAS = _choices(
    """
    blemish: a spot, pimple or scratch that will pass
    stray_hair: single hairs over face or background
    shine: a highlight from oil or sweat
    under_eye: shadow or bags under an eye
    teeth_eyes: colour of teeth, redness of eyes
    clothing_background: lint, creases, things behind the person
    """,
    "123456",
    ("#e41a1c", "#377eb8", "#984ea3", "#ff7f00", "#a65628", "#666666"),
)
_PRIORITIES = _choices(
    """
    must_fix: the picture is of no use without it
    nice_to_have: better with it
    keep_as_is: must stay as it is: a mole, a scar, freckles
    """,
    "mnl",
)
_MASKS = _choices(
    """
    skin_texture_keep: the texture here must come back untouched
    over_smoothed: smoothed already, in the file that came in
    """,
    "78",
    ("rgba(77,175,74,0.6)", "rgba(247,129,191,0.6)"),
)
_FACES = (
    Choice("subject_face", "this face", "f", "#1b9e77", "the face that the picture is about"),
    Choice("other_face", "another face", "n", "#7570b3", "anybody else's"),
)
_LANDMARKS = tuple(
    Choice(name, hotkey=str(i), colour=colour, help="left and right as they are in the picture")
    for i, (name, colour) in enumerate(zip(LANDMARK_NAMES, _LANDMARK_COLOURS, strict=True), 1)
)

TRIAGE = Form(
    "triage",
    "Triage",
    "photo",
    (
        Question(
            "decision",
            "one",
            "decision",
            "Decision",
            _DECISIONS,
            required="Pick accept, retouch or reject",
            help="What becomes of the photograph.",
        ),
        Question(
            "reject_reason",
            "many",
            "reasons",
            "Why is it rejected?",
            _REASONS,
            required="A reject needs at least one reason",
            when=("decision", ("reject",)),
            help="Every reason that holds.",
        ),
        Question(
            "reject_other",
            "text",
            "note",
            "Which other reason?",
            required="Say which other reason",
            when=("reject_reason", ("other",)),
            help="In a few words.",
        ),
        Question(
            "stars",
            "stars",
            "rating",
            "Quality of the photograph",
            most=5,
            hotkey="s",
            help="1 can just be used, 5 is a master's; each press of the key adds a star.",
        ),
        Question(
            "caption",
            "text",
            "caption",
            "Caption",
            draft="caption_draft",
            help="Short phrases with commas between; correct the draft.",
        ),
        Question("note", "text", "note", "Note for the retoucher", help="What is to be done."),
        *SEMANTIC,
        *PHOTOGRAPHIC,
        Question(
            "face_box",
            "boxes",
            "regions",
            "Face",
            _FACES,
            most=12,
            help="A box from hairline to chin and ear to ear; move it if it is off.",
        ),
        Question(
            "landmark",
            "points",
            "regions",
            "Landmarks",
            _LANDMARKS,
            help="Pupils, tip of the nose, corners of the mouth.",
        ),
    ),
)
RETOUCH = Form(
    "retouch",
    "Retouch",
    "photo",
    (
        Question(
            "retouch_area",
            "boxes",
            "regions",
            "What is to be retouched",
            _AREAS,
            most=200,
            help="Press its key, drag a box, click it for its priority; u before the next.",
        ),
        Question(
            "texture_mask",
            "brush",
            "regions",
            "Skin texture",
            _MASKS,
            help="Painted, where a box would be too coarse; it may be left out.",
        ),
        Question(
            "priority",
            "one",
            "priority",
            "How much does this box matter?",
            _PRIORITIES,
            required="Each box needs a priority",
            of="retouch_area",
            help="Of the box that is selected.",
        ),
        Question(
            "region_note",
            "text",
            "region_note",
            "Note on this box",
            of="retouch_area",
            help="What to do here, if the label does not say it.",
        ),
        Question(
            "retouch_note",
            "text",
            "note",
            "Note for the retoucher",
            help="What holds for the whole picture.",
        ),
    ),
)
REVIEW = Form(
    "review",
    "Review",
    "comparison",
    (
        Question(
            "verdict",
            "one",
            "decision",
            "Verdict on the picture after",
            _choices(
                """
                approve: good as it is; a retouched picture may then be learned from
                fix: has to be done once more, by the retoucher or by restoring it again
                reject: given up; the picture before stays
                """,
                "atx",
            ),
            required="Pick approve, fix or reject",
            help="Is it still the same person, and a real photograph? Zoom in, and compare before "
            "with after. Approve what is good, fix what has to be done once more, reject the rest.",
        ),
        Question(
            "fix_reason",
            "many",
            "reasons",
            "What is wrong?",
            _FIXES,
            required="Say what is wrong",
            when=("verdict", ("fix", "reject")),
            help="Every fault that is seen; whoever does it again reads it.",
        ),
        Question(
            "fix_other",
            "text",
            "note",
            "Which other fault?",
            required="Say which other fault",
            when=("fix_reason", ("other",)),
            help="In a few words; whoever does it again reads it.",
        ),
        Question(
            "texture_score",
            "stars",
            "rating",
            "Skin texture after",
            most=5,
            hotkey="s",
            help="1 is plastic, 5 as real as before; each press of the key adds a star.",
        ),
        Question(
            "review_note", "text", "note", "Note", help="What whoever does it again should know."
        ),
    ),
    whole="whole",
)
FORMS = {form.kind: form for form in (TRIAGE, RETOUCH, REVIEW)}
