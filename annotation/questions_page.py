"""The page on every question, made from the schema, so that it can't say anything else. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from annotation.form import Form, Question

__all__ = ["COMMAND", "questions_page"]

COMMAND = "authface annotate questions --markdown > docs/questions.md"

_KINDS = {
    "one": "one answer",
    "many": "several answers",
    "stars": "stars",
    "text": "text",
    "boxes": "boxes",
    "points": "points",
    "brush": "painted areas",
}
_ABOUT = {
    "triage": "Asked of every kept photo: is it good enough, and what does it show?",
    "retouch": "Asked of every photo that people agreed to retouch, once in each round.",
    "review": "Asked of every retouched file and of doubtful restored faces: before, after and "
    "their difference.",
}


def questions_page(forms: Mapping[str, Form]) -> str:
    """Markdown: every form with its questions, their values, keys and help."""
    parts = [
        "# Questions\n\n"
        f"Made from the schema by `{COMMAND}`; don't edit it.\n\n"
        "Tables hold the name of a question and of a value as they stand in the first column; the"
        " form shows the words. A team's own questions and words stand in a TOML file,"
        " `questions_file` under `[annotate]`.\n"
    ]
    for form in forms.values():
        parts.append(f"## {form.title}\n\n{_ABOUT[form.kind]}\n")
        parts += [_question(question) for question in form.questions]
    return "\n".join(parts)


def _question(question: Question) -> str:
    facts = ", ".join(_facts(question))
    head = f"### {question.title}\n\n`{question.name}`, {facts}. {_cell(question.help)}\n"
    if not question.choices:
        return head
    rows = ["", "| value | words | key | when |", "|---|---|---|---|"]
    for c in question.choices:
        key = f"`{c.hotkey}`" if c.hotkey else ""
        rows.append(f"| `{c.value}` | {_cell(c.title)} | {key} | {_cell(c.help)} |")
    return head + "\n".join(rows) + "\n"


def _facts(question: Question) -> list[str]:
    facts = [_KINDS[question.kind], f"in the column `{_column(question)}`"]
    if question.required:
        facts.append("must be answered")
    if question.when:
        asked, values = question.when
        facts.append(f"asked after {' or '.join(values)} of `{asked}`")
    if question.of:
        facts.append(f"of each region of `{question.of}`")
    if question.hotkey:
        facts.append(f"key `{question.hotkey}`")
    return facts


def _column(question: Question) -> str:
    names = {
        "semantic": "semantic_tags",
        "photographic": "photographic_tags",
        "priority": "regions.priority",
        "region_note": "regions.note",
    }
    return names.get(question.column, question.column)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
