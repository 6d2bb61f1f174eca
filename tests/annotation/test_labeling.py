from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from annotation.form_lint import xml_faults
from annotation.labeling import DATA_KEYS, TOOL_KEYS, lint, to_xml
from annotation.questions import FORMS, TRIAGE, Choice, Form, Question


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_our_forms_pass_the_lint(form: Form) -> None:
    assert lint(form) == []


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_control_is_about_the_one_picture_of_the_form(form: Form) -> None:
    root = Xml.fromstring(to_xml(form))
    shown = [form.picture, form.whole] if form.whole else [form.picture]
    assert [image.get("name") for image in root.iter("Image")] == shown
    assert {e.get("toName") for e in root.iter() if e.get("toName")} == {form.picture}
    assert {e.get("name") for e in root.iter() if e.get("toName")} == {
        q.name for q in form.questions
    }


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_choice_is_left_for_the_editor_to_give_a_key(form: Form) -> None:
    root = Xml.fromstring(to_xml(form))
    keys = [e.get("hotkey") for tag in ("Choice", "Label", "Rating") for e in root.iter(tag)]
    assert all(keys)
    assert not TOOL_KEYS & set(keys)


def test_values_come_back_as_the_tables_hold_them() -> None:
    choices = list(Xml.fromstring(to_xml(TRIAGE)).iter("Choice"))
    values = {c.value for q in TRIAGE.questions if q.kind in ("one", "many") for c in q.choices}
    assert {c.get("alias") for c in choices} == values


def test_a_drafted_caption_is_read_from_the_task() -> None:
    caption = Xml.fromstring(to_xml(TRIAGE)).find(".//TextArea[@name='caption']")
    assert caption is not None
    assert caption.get("value") == "$caption_draft"
    assert "caption_draft" in DATA_KEYS


def test_a_form_has_another_version_when_a_value_changes() -> None:
    first, *rest = TRIAGE.questions
    other = replace(
        TRIAGE, questions=(replace(first, choices=(*first.choices, Choice("maybe"))), *rest)
    )
    assert other.version != TRIAGE.version


ONE = Question("a", "one", "decision", "A", (Choice("yes", hotkey="1"), Choice("no", hotkey="2")))


@pytest.mark.parametrize(
    ("questions", "fault"),
    [
        ((ONE, ONE), "the name 'a' is used 2 times"),
        ((replace(ONE, name="photo"),), "the name 'photo' is used 2 times"),
        ((replace(ONE, name="image"),), "is also a key of the task data"),
        ((replace(ONE, choices=()),), "has nothing to choose from"),
        ((replace(ONE, choices=(Choice("x"), Choice("x"))),), "has 'x' 2 times"),
        ((replace(ONE, choices=(Choice("x/y"),)),), "a slash or comma"),
        (
            (replace(ONE, choices=(Choice("x", hotkey="1"), Choice("y", hotkey="1"))),),
            "'1' is used 2",
        ),
        ((replace(ONE, choices=(Choice("x", hotkey="b"),)),), "a key of the editor's tools"),
        ((replace(ONE, when=("z", ("yes",))),), "depends on 'z', which is not asked"),
        (
            (ONE, replace(ONE, name="b", choices=(Choice("q"),), when=("a", ("maybe",)))),
            "never maybe",
        ),
        ((Question("t", "text", "note", "T", draft="nowhere"),), "which tasks lack"),
    ],
)
def test_the_lint_names_what_the_server_would_accept_in_silence(
    questions: tuple[Question, ...], fault: str
) -> None:
    faults = lint(Form("triage", "T", "photo", questions))
    assert any(fault in f for f in faults), faults


GOOD = """<View><Image name="photo" value="$image"/>
<Choices name="a" toName="photo"><Choice value="yes" hotkey="1"/></Choices></View>"""


def test_the_lint_of_the_finished_xml_passes_what_is_right() -> None:
    assert xml_faults(GOOD) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("<View>", '<!DOCTYPE x [<!ENTITY a "b">]><View>', "declares a document type"),
        ("</View>", "", "it is no XML"),
        ("<View>", "<View><Blink/>", "the tag 'Blink' is not known"),
        ('name="a"', 'name="photo"', "the name 'photo' is used 2 times"),
        ('name="a" ', "", "a Choices has no name"),
        ('name="a"', 'name="image"', "'image' is also a key of the task data"),
        ('toName="photo"', 'toName="other"', "is about 'other'"),
        ("</Choices>", '<Choice value="yes" hotkey="2"/></Choices>', "has 'yes' 2 times"),
        ("</Choices>", '<Choice value="no" hotkey="1"/></Choices>', "the hotkey '1' is used 2"),
        ("</Choices>", '<Choice value="no" hotkey="b"/></Choices>', "'b' is a key of the editor's"),
        ("</Choices>", '<Choice value="no"/></Choices>', "'no' has no key"),
        ("</Choices>", '<Label value="no" hotkey="3"/></Choices>', "'a' holds a Label"),
        ("$image", "$picture", "it shows 'picture', which tasks lack"),
        ("<View>", '<View visibleWhen="now" whenTagName="a">', "visibleWhen 'now' is not known"),
        ("<View>", '<View visibleWhen="region-selected" whenTagName="z">', "depends on 'z'"),
        (
            "<View>",
            '<View visibleWhen="choice-selected" whenTagName="a" whenChoiceValue="maybe">',
            "being ['maybe']",
        ),
        ("<View>", '<View visibleWhen="choice-selected" whenTagName="a">', "being nothing"),
    ],
)
def test_the_lint_of_the_finished_xml_names_each_fault(before: str, after: str, fault: str) -> None:
    faults = xml_faults(GOOD.replace(before, after, 1))
    assert any(fault in f for f in faults), faults
