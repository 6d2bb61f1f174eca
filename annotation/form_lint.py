"""What Label Studio's server takes in silence and its editor then gets wrong: found before sending.

Two looks: at a form, where a fault has a name of ours, and at the finished XML, as a reader of
it that trusts nobody. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from xml.etree import ElementTree as Xml

from annotation.form import Form

__all__ = ["DATA_KEYS", "NO_KEY", "TOOL_KEYS", "form_faults", "xml_faults"]

# Keys that the editor keeps for its own tools: a form must not take them.
TOOL_KEYS = frozenset("vhkropbeu")
# The editor gives every choice without a key the next free letter, unseen in a drop-down list, so
# that a stray key would answer a question. A key that keyboards lack keeps it from that.
NO_KEY = "f19"
# What every task carries in its data; exports break where a control has one of these names.
DATA_KEYS = (
    "image",
    "proxy",
    "title",
    "caption_draft",
    "task_key",
    "photo_id",
    "schema",
    "picture_width",
    "picture_height",
)

_REGION_CONTROLS = {"RectangleLabels": "Label", "KeyPointLabels": "Label", "BrushLabels": "Label"}
_CONTROLS = {**_REGION_CONTROLS, "Choices": "Choice", "Rating": "", "TextArea": ""}
_TAGS = {"View", "Header", "Text", "Image", "Choice", "Label", *_CONTROLS}
_WHEN = ("choice-selected", "region-selected")


def form_faults(form: Form) -> list[str]:
    """What is wrong with a form, one sentence each."""
    return [
        *_name_faults(form),
        *_choice_faults(form),
        *_hotkey_faults(form),
        *_condition_faults(form),
    ]


def xml_faults(xml: str, data_keys: Collection[str] = DATA_KEYS) -> list[str]:
    """What is wrong with a labelling configuration, one sentence each.

    `data_keys` are the keys that each task's data has. No document type is read: an entity in one
    could swell to gigabytes.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        return ["it declares a document type, which a form never needs"]
    try:
        root = Xml.fromstring(xml)
    except Xml.ParseError as error:
        return [f"it is no XML: {error}"]
    return [
        *(f"the tag {tag!r} is not known" for tag in sorted({e.tag for e in root.iter()} - _TAGS)),
        *_name_faults_of(root, data_keys),
        *_value_faults_of(root),
        *_hotkey_faults_of(root),
        *_condition_faults_of(root),
        *_data_faults_of(root, data_keys),
    ]


def _name_faults(form: Form) -> Iterator[str]:
    pictures = [form.picture, *([form.whole] if form.whole else [])]
    counts = Counter([*pictures, *(q.name for q in form.questions)])
    yield from (f"the name {name!r} is used {n} times" for name, n in counts.items() if n > 1)
    yield from (
        f"{q.name!r} is also a key of the task data" for q in form.questions if q.name in DATA_KEYS
    )
    for question in form.questions:
        if question.draft and question.draft not in DATA_KEYS:
            yield f"{question.name!r} is prefilled from {question.draft!r}, which tasks lack"


def _choice_faults(form: Form) -> Iterator[str]:
    for question in form.questions:
        needs_choices = question.kind not in ("stars", "text")
        if needs_choices and not question.choices:
            yield f"{question.name!r} has nothing to choose from"
        for said in ("value", "title"):
            counts = Counter(getattr(c, said) for c in question.choices)
            yield from (
                f"{question.name!r} has {v!r} {n} times" for v, n in counts.items() if n > 1
            )
        yield from (
            f"{question.name!r} has a value with a slash or comma: {c.value!r}"
            for c in question.choices
            if set("/,") & set(c.value)
        )


def _hotkey_faults(form: Form) -> Iterator[str]:
    keys = [(c.hotkey, q.name) for q in form.questions for c in q.choices if c.hotkey]
    keys += [(q.hotkey, q.name) for q in form.questions if q.hotkey]
    counts = Counter(key for key, _ in keys)
    yield from (f"the hotkey {key!r} is used {n} times" for key, n in counts.items() if n > 1)
    yield from (
        f"{name!r} takes {key!r}, which is a key of the editor's tools"
        for key, name in keys
        if key in TOOL_KEYS
    )


def _condition_faults(form: Form) -> Iterator[str]:
    choices = {q.name: {c.value for c in q.choices} for q in form.questions}
    for question in form.questions:
        if question.of and question.of not in choices:
            yield f"{question.name!r} is about regions of {question.of!r}, which is not asked"
        if question.when is None:
            continue
        asked, values = question.when
        if asked not in choices:
            yield f"{question.name!r} depends on {asked!r}, which is not asked"
        elif missing := sorted(set(values) - choices[asked]):
            yield f"{question.name!r} depends on {asked!r}, which is never {', '.join(missing)}"


def _controls(root: Xml.Element) -> list[Xml.Element]:
    return [e for e in root.iter() if e.tag in _CONTROLS]


def _name_faults_of(root: Xml.Element, data_keys: Collection[str]) -> Iterator[str]:
    controls = _controls(root)
    pictures = [e.get("name", "") for e in root.iter("Image")]
    names = Counter([*pictures, *(e.get("name", "") for e in controls)])
    yield from (f"the name {name!r} is used {n} times" for name, n in names.items() if n > 1)
    for control in controls:
        name, about = control.get("name", ""), control.get("toName")
        if not name:
            yield f"a {control.tag} has no name"
        if name in data_keys:
            yield f"{name!r} is also a key of the task data"
        if about not in pictures:
            yield f"{name!r} is about {about!r}, which is no picture of the form"


def _value_faults_of(root: Xml.Element) -> Iterator[str]:
    for control in _controls(root):
        inner = _CONTROLS[control.tag]
        strangers = {e.tag for e in control} - {inner}
        yield from (f"{control.get('name')!r} holds a {tag}" for tag in sorted(strangers))
        values = [e.get("value", "") for e in control]
        # The alias is what comes back, so it must be as unique as what is shown.
        for said in (values, [str(e.get("alias") or e.get("value")) for e in control]):
            counts = Counter(said)
            yield from (
                f"{control.get('name')!r} has {v!r} {n} times" for v, n in counts.items() if n > 1
            )
        if inner and not all(values):
            yield f"{control.get('name')!r} has nothing to choose from, or an empty value"


def _hotkey_faults_of(root: Xml.Element) -> Iterator[str]:
    keyed = [e for e in root.iter() if e.tag in ("Choice", "Label", "Rating")]
    for element in keyed:
        if not element.get("hotkey"):
            yield f"{element.get('value') or element.get('name')!r} has no key, so it gets any"
    keys = Counter(key for e in keyed if (key := e.get("hotkey")) and key != NO_KEY)
    yield from (f"the hotkey {key!r} is used {n} times" for key, n in keys.items() if n > 1)
    yield from (f"{key!r} is a key of the editor's tools" for key in sorted(TOOL_KEYS & set(keys)))


def _condition_faults_of(root: Xml.Element) -> Iterator[str]:
    controls = {e.get("name"): e for e in _controls(root)}
    for element in root.iter():
        when = element.get("visibleWhen")
        if when is None:
            continue
        if when not in _WHEN:
            yield f"visibleWhen {when!r} is not known"
        asked = controls.get(element.get("whenTagName"))
        if asked is None:
            yield f"something depends on {element.get('whenTagName')!r}, which is not asked"
            continue
        wanted = {v for v in (element.get("whenChoiceValue") or "").split(",") if v}
        missing = sorted(wanted - {str(e.get("value")) for e in asked})
        if missing or (when == "choice-selected" and not wanted):
            yield f"something depends on {asked.get('name')!r} being {missing or 'nothing'}"


def _data_faults_of(root: Xml.Element, data_keys: Collection[str]) -> Iterator[str]:
    yield from (
        f"it shows {key!r}, which tasks lack" for key in sorted(_asked_keys(root) - set(data_keys))
    )


def _asked_keys(root: Xml.Element) -> set[str]:
    """Values that the editor takes from the task's data: those that begin with a dollar."""
    said = (e.get("value", "") for e in root.iter() if e.tag not in ("Choice", "Label"))
    return {value[1:] for value in said if value.startswith("$")}
