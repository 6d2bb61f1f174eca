"""From a form to the XML for Label Studio, and the lint for what its server accepts in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from annotation.questions import Form, Question, tag_questions

__all__ = ["DATA_KEYS", "TOOL_KEYS", "lint", "to_xml"]

# Keys that the editor keeps for its own tools: a form must not take them.
TOOL_KEYS = frozenset("vhkropbeu")
# What every task carries in its data; exports break where a control has one of these names.
DATA_KEYS = (
    "image",
    "title",
    "caption_draft",
    "task_key",
    "photo_id",
    "schema",
    "picture_width",
    "picture_height",
)

_SIDE = "min-width:0;max-height:calc(100vh - 150px);overflow-y:auto;padding-right:6px"
# The editor gives every choice without a key the next free letter, unseen in a drop-down list, so
# that a stray key would answer a question. A key that keyboards lack keeps it from that.
_NO_KEY = "f19"
_TITLE = "font-size:16px;margin:8px 0 2px"
_SMALL = "font-size:13px;margin:6px 0 0"
_GROUPS = {"semantic": "In the picture", "photographic": "How it was photographed"}


def to_xml(form: Form) -> str:
    """The labelling configuration of a form: picture on the left, questions on the right."""
    root = Xml.Element("View")
    grid = _view(root, "display:grid;grid-template-columns:minmax(0,11fr) minmax(0,9fr);gap:14px")
    if form.kind == "review":
        grid.set("style", "display:grid;grid-template-columns:minmax(0,4fr) minmax(0,1fr);gap:14px")
    left = _view(grid, "min-width:0")
    side = _view(grid, _SIDE)
    _picture(left, form)
    for question in form.questions:
        if question.column == "regions":
            _regions(left, form, question)
        elif question.column not in _GROUPS:
            _question(side, form, question)
        elif question is next(tag_questions(form, question.column)):
            _tag_group(side, form, question.column)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode")


def lint(form: Form) -> list[str]:
    """What is wrong with a form, one sentence each; none if Label Studio can be trusted with it."""
    return [
        *_name_faults(form),
        *_choice_faults(form),
        *_hotkey_faults(form),
        *_condition_faults(form),
    ]


def _view(parent: Xml.Element, style: str, **more: str) -> Xml.Element:
    return Xml.SubElement(parent, "View", {"style": style, **more})


def _picture(parent: Xml.Element, form: Form) -> None:
    Xml.SubElement(parent, "Header", {"value": "$title", "size": "6"})
    tools = {
        "zoom": "true",
        "zoomControl": "true",
        "rotateControl": "false",
        "maxWidth": "100%",
        "maxHeight": "calc(100vh - 270px)",
    }
    if form.kind == "triage":
        tools |= {"brightnessControl": "true", "contrastControl": "true"}
    Xml.SubElement(
        parent, "Image", {"name": form.picture, "value": "$image", "defaultZoom": "fit", **tools}
    )


def _regions(parent: Xml.Element, form: Form, question: Question) -> None:
    boxes = question.kind == "boxes"
    extra = (
        {"canRotate": "false", "maxUsages": str(question.most)} if boxes else {"strokeWidth": "3"}
    )
    tag = "RectangleLabels" if boxes else "KeyPointLabels"
    names = {"name": question.name, "toName": form.picture, "showInline": "true"}
    control = Xml.SubElement(parent, tag, names | extra)
    for choice in question.choices:
        # Labels have no alias: the editor matches a suggested region by the words it shows.
        Xml.SubElement(
            control,
            "Label",
            {"value": choice.value, "background": choice.colour, "hotkey": choice.hotkey},
        )


def _question(parent: Xml.Element, form: Form, question: Question) -> None:
    if question.when:
        asked, values = question.when
        parent = _view(
            parent,
            "margin:0",
            visibleWhen="choice-selected",
            whenTagName=asked,
            whenChoiceValue=",".join(_shown(form, asked, values)),
        )
    Xml.SubElement(parent, "Header", {"value": question.title, "size": "6", "style": _TITLE})
    common = {"name": question.name, "toName": form.picture}
    if question.required:
        common |= {"required": "true", "requiredMessage": question.required}
    if question.kind == "stars":
        Xml.SubElement(
            parent,
            "Rating",
            common
            | {
                "maxRating": str(question.most),
                "icon": "star",
                "hotkey": question.hotkey or _NO_KEY,
            },
        )
    elif question.kind == "text":
        Xml.SubElement(parent, "TextArea", common | _text(question))
    else:
        _choices(
            parent,
            question,
            common
            | {
                "choice": "multiple" if question.kind == "many" else "single-radio",
                "showInline": "true",
            },
        )


def _text(question: Question) -> dict[str, str]:
    text = {"rows": "2", "maxSubmissions": "1", "editable": "true", "showSubmitButton": "false"}
    return text | ({"value": f"${question.draft}"} if question.draft else {})


def _tag_group(parent: Xml.Element, form: Form, group: str) -> None:
    Xml.SubElement(parent, "Header", {"value": _GROUPS[group], "size": "5", "style": _TITLE})
    grid = _view(parent, "display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:0 10px")
    for question in tag_questions(form, group):
        cell = _view(grid, "min-width:0")
        Xml.SubElement(cell, "Header", {"value": question.title, "size": "6", "style": _SMALL})
        many = "multiple" if question.kind == "many" else "single"
        _choices(
            cell,
            question,
            {"name": question.name, "toName": form.picture, "layout": "select", "choice": many},
        )


def _choices(parent: Xml.Element, question: Question, attributes: dict[str, str]) -> None:
    control = Xml.SubElement(parent, "Choices", attributes)
    for choice in question.choices:
        words = {"value": choice.title, "alias": choice.value}
        Xml.SubElement(control, "Choice", words | {"hotkey": choice.hotkey or _NO_KEY})


def _shown(form: Form, asked: str, values: tuple[str, ...]) -> list[str]:
    found = next(q for q in form.questions if q.name == asked)
    return [c.title for c in found.choices if c.value in values]


def _name_faults(form: Form) -> Iterator[str]:
    counts = Counter([form.picture, *(q.name for q in form.questions)])
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
        if question.when is None:
            continue
        asked, values = question.when
        if asked not in choices:
            yield f"{question.name!r} depends on {asked!r}, which is not asked"
        elif missing := sorted(set(values) - choices[asked]):
            yield f"{question.name!r} depends on {asked!r}, which is never {', '.join(missing)}"
