"""From a form to the XML for Label Studio, checked before it is sent."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from annotation.form import Form, Question, named, tag_questions
from annotation.form_lint import DATA_KEYS, NO_KEY, TOOL_KEYS, form_faults, xml_faults

__all__ = ["DATA_KEYS", "TOOL_KEYS", "lint", "to_xml"]

_SIDE = "min-width:0;max-height:calc(100vh - 150px);overflow-y:auto;padding-right:6px"
_TITLE = "font-size:16px;margin:8px 0 2px"
_SMALL = "font-size:13px;margin:6px 0 0"
_HINT = "font-size:12px;font-weight:400;margin:2px 0 6px"
# Columns of the page, and what is left of its height for the picture.
_LAYOUT = {
    "triage": ("minmax(0,11fr) minmax(0,9fr)", "calc(100vh - 270px)"),
    "retouch": ("minmax(0,7fr) minmax(0,3fr)", "calc(100vh - 190px)"),
    "review": ("minmax(0,7fr) minmax(0,2fr)", "calc(100vh - 500px)"),
}
_LABELS = {"boxes": "RectangleLabels", "points": "KeyPointLabels", "brush": "BrushLabels"}
_GROUPS = ("semantic", "photographic")


def to_xml(form: Form) -> str:
    """The labelling configuration of a form: picture on the left, questions on the right."""
    root = Xml.Element("View")
    columns, height = _LAYOUT[form.kind]
    grid = _view(root, f"display:grid;grid-template-columns:{columns};gap:14px")
    left = _view(grid, "min-width:0")
    side = _view(grid, _SIDE)
    _picture(left, form, height)
    for question in form.questions:
        if question.column == "regions":
            _regions(side if form.kind == "retouch" else left, form, question)
        elif question.column not in _GROUPS:
            _question(side, form, question)
        elif question is next(tag_questions(form, question.column)):
            _tag_group(side, form, question.column)
    if form.whole:
        _whole(left, form)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode")


def lint(form: Form) -> list[str]:
    """What is wrong with a form, one sentence each; none if Label Studio can be trusted with it."""
    return form_faults(form) or xml_faults(to_xml(form))


def _view(parent: Xml.Element, style: str, **more: str) -> Xml.Element:
    return Xml.SubElement(parent, "View", {"style": style, **more})


def _picture(parent: Xml.Element, form: Form, height: str) -> None:
    Xml.SubElement(parent, "Header", {"value": "$title", "size": "6"})
    tools = {
        "zoom": "true",
        "zoomControl": "true",
        "rotateControl": "false",
        "maxWidth": "100%",
        "maxHeight": height,
    }
    if form.kind != "review":
        tools |= {"brightnessControl": "true", "contrastControl": "true"}
    Xml.SubElement(
        parent, "Image", {"name": form.picture, "value": "$image", "defaultZoom": "fit", **tools}
    )


def _whole(parent: Xml.Element, form: Form) -> None:
    """The photo beside the picture that is judged: where the face stands, and nothing to answer."""
    Xml.SubElement(parent, "Header", {"value": "The whole photo", "size": "6", "style": _TITLE})
    Xml.SubElement(
        parent,
        "Image",
        {
            "name": form.whole,
            "value": "$proxy",
            "zoom": "false",
            "zoomControl": "false",
            "rotateControl": "false",
            "maxWidth": "100%",
            "maxHeight": "260px",
        },
    )


def _regions(parent: Xml.Element, form: Form, question: Question) -> None:
    extra = {
        "boxes": {"canRotate": "false", "maxUsages": str(question.most)},
        "points": {"strokeWidth": "3"},
        "brush": {},
    }
    names = {"name": question.name, "toName": form.picture, "showInline": "true"}
    tag = _LABELS[question.kind]
    if form.kind == "retouch":  # the picture is all, so there is room for words beside it
        Xml.SubElement(parent, "Header", {"value": question.title, "size": "6", "style": _TITLE})
        Xml.SubElement(parent, "Header", {"value": question.help, "size": "6", "style": _HINT})
    control = Xml.SubElement(parent, tag, names | extra[question.kind])
    for choice in question.choices:
        # Labels have no alias: the editor matches a suggested region by the words it shows.
        Xml.SubElement(
            control,
            "Label",
            {"value": choice.value, "background": choice.colour, "hotkey": choice.hotkey},
        )


def _question(parent: Xml.Element, form: Form, question: Question) -> None:
    common = {"name": question.name, "toName": form.picture}
    if question.when:
        asked, values = question.when
        parent = _view(
            parent,
            "margin:0",
            visibleWhen="choice-selected",
            whenTagName=asked,
            whenChoiceValue=",".join(_shown(form, asked, values)),
        )
    if question.of:
        shown = {"visibleWhen": "region-selected", "whenTagName": question.of}
        parent = _view(parent, "margin:0", **shown)
        # On the control too: the editor asks for what is required where it would be shown.
        common |= {"perRegion": "true", **shown}
    Xml.SubElement(parent, "Header", {"value": question.title, "size": "6", "style": _TITLE})
    if form.kind == "review" and question.kind != "text":  # few questions, so there is room
        Xml.SubElement(parent, "Header", {"value": question.help, "size": "6", "style": _HINT})
    if question.required:
        common |= {"required": "true", "requiredMessage": question.required}
    if question.kind == "stars":
        stars = {"maxRating": str(question.most), "icon": "star"}
        Xml.SubElement(parent, "Rating", common | stars | {"hotkey": question.hotkey or NO_KEY})
    elif question.kind == "text":
        Xml.SubElement(parent, "TextArea", common | _text(question))
    else:
        many = "multiple" if question.kind == "many" else "single-radio"
        _choices(parent, question, common | {"choice": many, "showInline": "true"})


def _text(question: Question) -> dict[str, str]:
    text = {"rows": "2", "maxSubmissions": "1", "editable": "true", "showSubmitButton": "false"}
    if question.help:
        text |= {"placeholder": question.help}
    return text | ({"value": f"${question.draft}"} if question.draft else {})


def _tag_group(parent: Xml.Element, form: Form, group: str) -> None:
    heading = form.headings[_GROUPS.index(group)]
    Xml.SubElement(parent, "Header", {"value": heading, "size": "5", "style": _TITLE})
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
        if choice.help:
            words |= {"hint": choice.help}
        Xml.SubElement(control, "Choice", words | {"hotkey": choice.hotkey or NO_KEY})


def _shown(form: Form, asked: str, values: tuple[str, ...]) -> list[str]:
    return [c.title for c in named(form)[asked].choices if c.value in values]
