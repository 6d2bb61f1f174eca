"""The one schema: every question put to photographers, its values and their words.

The form, the suggestions and the parser of answers all come from here, so they can't drift apart.
Tags stand in two groups, semantic (what is in the picture) and photographic (how it was taken);
a tag's value can stand in a caption by itself. Source: AuthFace (Liang et al., 2024), figure 2a.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Literal

from data_manifests.records import LANDMARK_NAMES

__all__ = ["FORMS", "REVIEW", "TRIAGE", "Choice", "Form", "Question", "named", "tag_questions"]

Kind = Literal["one", "many", "stars", "text", "boxes", "points"]
Column = Literal[
    "decision", "reasons", "rating", "semantic", "photographic", "caption", "note", "regions"
]


@dataclass(frozen=True, slots=True)
class Choice:
    """A value as the tables hold it, its words on the form, and the key that picks it."""

    value: str
    words: str = ""
    hotkey: str = ""
    colour: str = ""

    @property
    def title(self) -> str:
        """What a person reads."""
        return (self.words or self.value).replace("_", " ")


@dataclass(frozen=True, slots=True)
class Question:
    """One question; `column` says where its answer goes in the Annotation row."""

    name: str
    kind: Kind
    column: Column
    title: str
    choices: tuple[Choice, ...] = ()
    required: str = ""  # what the form says when it is left empty; empty if it may be
    when: tuple[str, tuple[str, ...]] | None = (
        None  # asked only after these values of that question
    )
    draft: str = ""  # key of the task data that it is prefilled from
    most: int = 0  # stars, or boxes at the most
    hotkey: str = ""  # of the question itself: one star more


@dataclass(frozen=True, slots=True)
class Form:
    """The questions of one kind of task, and the picture that they are about."""

    kind: str
    title: str
    picture: str  # name of the picture's control
    questions: tuple[Question, ...]

    @property
    def version(self) -> str:
        """A short hash of the whole form: it stands in each task and changes with any question."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]


def named(form: Form) -> dict[str, Question]:
    """The questions by name."""
    return {q.name: q for q in form.questions}


def tag_questions(form: Form, group: str) -> Iterator[Question]:
    """The questions of one tag group."""
    return (q for q in form.questions if q.column == group)


def _tags(group: Column, title: str, name: str, values: str, *, kind: Kind = "one") -> Question:
    """A tag question; "value=words" where the form can say less than a caption must."""
    pairs = (v.split("=") for v in values.split())
    return Question(name, kind, group, title, tuple(Choice(*p) for p in pairs))


def _keyed(values: str) -> tuple[Choice, ...]:
    return tuple(Choice(v, hotkey=key) for v, key in zip(values.split(), _FREE_KEYS, strict=False))


_SEMANTIC = (
    _tags("semantic", "Shot", "shot", "close_up shoulders_up half_length full_length group"),
    _tags("semantic", "Gender, as it appears", "gender", "woman man not_clear"),
    _tags(
        "semantic", "Age group", "age_group", "child teenager young_adult middle_aged older_adult"
    ),
    _tags(
        "semantic",
        "Clothing",
        "clothing",
        "casual_clothes=casual formal_clothes=formal traditional_clothes=traditional uniform"
        " costume bare_shoulders",
    ),
    _tags(
        "semantic",
        "Background",
        "background",
        "plain_background=plain indoor_background=indoor nature_background=nature"
        " city_background=city",
    ),
    _tags(
        "semantic",
        "Hair",
        "hair",
        "short_hair=short medium_length_hair=medium long_hair=long tied_up_hair=tied_up bald"
        " covered_hair=covered",
    ),
    _tags("semantic", "Eyewear", "eyewear", "no_eyewear=none glasses sunglasses"),
)
_PHOTOGRAPHIC = (
    _tags(
        "photographic",
        "Light pattern",
        "light_pattern",
        "butterfly_lighting=butterfly loop_lighting=loop rembrandt_lighting=rembrandt"
        " split_lighting=split broad_lighting=broad rim_lighting=rim flat_lighting=flat",
    ),
    _tags(
        "photographic",
        "Light quality",
        "light_quality",
        "soft_light=soft hard_light=hard mixed_light=mixed coloured_light=coloured",
    ),
    _tags(
        "photographic",
        "Expression",
        "expression",
        "neutral_expression=neutral serious_expression=serious smile laugh surprise sadness",
    ),
    _tags(
        "photographic",
        "Gaze",
        "gaze",
        "looking_at_camera=at_camera looking_aside=aside looking_up=up looking_down=down"
        " eyes_closed",
    ),
    _tags(
        "photographic",
        "View",
        "view",
        "frontal_view=frontal three_quarter_view=three_quarter profile_view=profile",
    ),
    _tags(
        "photographic",
        "Focus",
        "focus",
        "sharp_eyes sharp_beside_eyes=beside_eyes slightly_soft out_of_focus",
    ),
    _tags(
        "photographic",
        "Focal length",
        "focal_length",
        "wide_angle=wide normal_lens=normal short_telephoto=short_tele telephoto=tele",
    ),
    _tags(
        "photographic",
        "Depth of field",
        "depth_of_field",
        "shallow_depth_of_field=shallow medium_depth_of_field=medium deep_depth_of_field=deep",
    ),
    _tags(
        "photographic",
        "Contrast",
        "contrast",
        "low_contrast=low balanced_contrast=balanced high_contrast=high",
    ),
    _tags(
        "photographic",
        "Colour",
        "colour",
        "natural_colours=natural warm_colours=warm cool_colours=cool vivid_colours=vivid"
        " muted_colours=muted monochrome",
    ),
    _tags(
        "photographic",
        "Skin texture",
        "skin_texture",
        "fine_skin_texture=fine visible_pores smoothed_skin=smoothed shiny_skin=shiny",
    ),
    _tags(
        "photographic",
        "Facial detail",
        "facial_detail",
        "freckles wrinkles stubble beard mole scar blemishes",
        kind="many",
    ),
    _tags(
        "photographic",
        "Make-up",
        "makeup",
        "no_makeup=none light_makeup=light heavy_makeup=heavy artistic_makeup=artistic",
    ),
)
_REASONS = (
    "soft_focus motion_blur noise compression over_retouched beauty_filter ai_generated"
    " watermark_or_text occluded_face extreme_pose clipped_exposure face_too_small duplicate"
    " minor_or_consent other"
)
_FIXES = (
    "over_smoothed identity_changed eyes_or_teeth colour_shift halo_or_seam misaligned artifacts"
    " resolution_loss wrong_picture other"
)
# Keys left over for reasons; one without a key would get one from the editor, its tools' too.
_FREE_KEYS = "67890qwdgzcyijl"
_LANDMARK_COLOURS = ("#d95f02", "#e7298a", "#66a61e", "#e6ab02", "#1f78b4")

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
            (
                Choice("accept", hotkey="a"),
                Choice("retouch", hotkey="t"),
                Choice("reject", hotkey="x"),
            ),
            required="Pick accept, retouch or reject",
        ),
        Question(
            "reject_reason",
            "many",
            "reasons",
            "Why is it rejected?",
            _keyed(_REASONS),
            required="A reject needs at least one reason",
            when=("decision", ("reject",)),
        ),
        Question("stars", "stars", "rating", "Quality of the photograph", most=5, hotkey="s"),
        Question("caption", "text", "caption", "Caption", draft="caption_draft"),
        Question("note", "text", "note", "Note for the retoucher"),
        *_SEMANTIC,
        *_PHOTOGRAPHIC,
        Question(
            "face_box",
            "boxes",
            "regions",
            "Face",
            (
                Choice("subject_face", "this face", "f", "#1b9e77"),
                Choice("other_face", "another face", "n", "#7570b3"),
            ),
            most=12,
        ),
        Question(
            "landmark",
            "points",
            "regions",
            "Landmarks",
            tuple(
                Choice(name, hotkey=str(i), colour=colour)
                for i, (name, colour) in enumerate(
                    zip(LANDMARK_NAMES, _LANDMARK_COLOURS, strict=True), 1
                )
            ),
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
            (
                Choice("approve", hotkey="a"),
                Choice("fix", hotkey="t"),
                Choice("reject", hotkey="x"),
            ),
            required="Pick approve, fix or reject",
        ),
        Question(
            "fix_reason",
            "many",
            "reasons",
            "What is wrong?",
            _keyed(_FIXES),
            required="Say what is wrong",
            when=("verdict", ("fix", "reject")),
        ),
        Question("review_note", "text", "note", "Note"),
    ),
)
FORMS = {form.kind: form for form in (TRIAGE, REVIEW)}
