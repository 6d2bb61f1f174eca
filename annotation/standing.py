"""Where each photo stands between the people, and who may move it from where to where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from data_manifests.errors import InputError
from data_manifests.records import Consensus, Photo, Retouch, Standing, Task

__all__ = ["MOVES", "WAITS_FOR", "move", "standings"]

WAITS_FOR = {
    "triage": "photographer",
    "adjudication": "adjudicator",
    "retouch": "retoucher",
    "review": "reviewer",
    "done": "nobody",
    "rejected": "nobody",
}
_JUDGES = frozenset({"photographer", "adjudicator"})
_DECIDED = ("retouch", "done", "rejected")
# (from, to) -> roles. The toolkit moves on what it computes: conflicts, withdrawn answers, checks.
MOVES: Mapping[tuple[str, str], frozenset[str]] = {
    **{("triage", to): frozenset({"photographer"}) for to in _DECIDED},
    **{("adjudication", to): _JUDGES for to in _DECIDED},
    **{(one, to): _JUDGES for one in _DECIDED for to in _DECIDED if one != to},
    **{(one, "adjudication"): frozenset({"toolkit"}) for one in ("triage", "review", *_DECIDED)},
    **{(one, "triage"): frozenset({"toolkit"}) for one in ("adjudication", "review", *_DECIDED)},
    ("retouch", "retouch"): frozenset({"toolkit"}),
    ("retouch", "review"): frozenset({"retoucher"}),
    ("review", "review"): frozenset({"retoucher"}),
    ("review", "retouch"): frozenset({"reviewer", "toolkit"}),
    ("review", "done"): frozenset({"reviewer", *_JUDGES}),
    ("review", "rejected"): frozenset({"reviewer", *_JUDGES}),
    # A reviewer may take a verdict back or change it.
    ("done", "review"): frozenset({"reviewer"}),
    ("rejected", "review"): frozenset({"reviewer"}),
    ("done", "retouch"): frozenset({"reviewer", *_JUDGES}),
    ("rejected", "retouch"): frozenset({"reviewer", *_JUDGES}),
    ("done", "rejected"): frozenset({"reviewer", *_JUDGES}),
    ("rejected", "done"): frozenset({"reviewer", *_JUDGES}),
}


def move(standing: Standing, to: str, *, by: str, why: str, now: datetime) -> Standing:
    """The photo moved by a role (and a pseudonym after a space); raises InputError if it may not.

    A return to the retoucher opens the next round.
    """
    role = by.split(" ", maxsplit=1)[0]
    allowed = MOVES.get((standing.state, to), frozenset())
    if role not in allowed:
        here = f"Photo {standing.photo_id[:12]} stands at {standing.state}"
        who = " or ".join(sorted(allowed))
        wrong = (
            f"{here}: a {role} may not move it to {to}, only {who} may."
            if who
            else f"{here}: nobody can move it from there to {to}."
        )
        todo = f"It waits for {standing.waits_for}; answer there, then run it again."
        raise InputError(wrong, todo)
    opens = to == "retouch"
    return replace(
        standing,
        state=to,
        round=standing.round + 1 if opens else standing.round,
        waits_for=WAITS_FOR[to],
        moved_by=by,
        why=why,
        since=now,
    )


def standings(
    photos: Iterable[Photo],
    consensus: Iterable[Consensus],
    retouches: Iterable[Retouch],
    tasks: Iterable[Task],
    *,
    earlier: Iterable[Standing] = (),
    now: datetime,
) -> list[Standing]:
    """One row for every kept photo that was asked about or can be, by photo_id.

    A photo that did not move keeps its earlier row, with the time it came there.
    """
    settled = {c.photo_id: c for c in consensus}
    newest = _newest(retouches)
    asked = {t.photo_id for t in tasks if t.kind == "triage"}
    before = {s.photo_id: s for s in earlier}
    ids = {p.photo_id for p in photos if p.state == "kept"} | asked | set(settled)
    return [
        _kept(before.get(i), _stands(i, settled.get(i), newest.get(i), now)) for i in sorted(ids)
    ]


def _newest(retouches: Iterable[Retouch]) -> dict[str, Retouch]:
    found: dict[str, Retouch] = {}
    for one in sorted(retouches, key=lambda r: (r.round, r.retouch_id)):
        found[one.photo_id] = one
    return found


def _stands(
    photo_id: str, said: Consensus | None, retouch: Retouch | None, now: datetime
) -> Standing:
    """The photo walked from triage through everything that the tables say happened to it."""
    here = Standing(
        photo_id=photo_id,
        state="triage",
        waits_for=WAITS_FOR["triage"],
        moved_by="toolkit",
        why="kept",
        since=now,
    )
    if said is None or (said.decision is None and not said.conflict):
        return here
    if said.conflict:
        return move(here, "adjudication", by="toolkit", why="people disagree", now=now)
    judge = "adjudicator" if said.adjudicated else "photographer"
    if said.adjudicated:
        here = move(here, "adjudication", by="toolkit", why="people disagree", now=now)
    ends = {"accept": "done", "reject": "rejected", "retouch": "retouch"}
    why = ", ".join(said.reasons) or f"{said.decision}, said by {said.voters}"
    here = move(here, ends[said.decision or "accept"], by=judge, why=why, now=now)
    return _retouched(here, retouch, now) if here.state == "retouch" and retouch else here


def _retouched(here: Standing, retouch: Retouch, now: datetime) -> Standing:
    here = replace(here, round=retouch.round)
    why = ", ".join(retouch.reasons) or retouch.state
    if any(not v.keep for v in retouch.verdicts) and retouch.state == "fix":
        return move(here, "retouch", by="toolkit", why=why, now=now)
    came = f"round {retouch.round} came back"
    here = move(here, "review", by="retoucher", why=came, now=now)
    ends = {"approved": "done", "fix": "retouch", "rejected": "rejected"}
    if retouch.state in ends:
        here = move(here, ends[retouch.state], by="reviewer", why=why, now=now)
    return here


def _kept(old: Standing | None, new: Standing) -> Standing:
    return old if old is not None and replace(old, since=new.since) == new else new
