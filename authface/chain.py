"""A sample's chain as a person reads it: one paragraph a link, in the order of the walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from authface import console
from authface.cells import cell, moment
from data_manifests.lineage import Answer, Chain, File, Use
from data_manifests.records import Agreement, Consent, Face, Photo, Verdict

__all__ = ["print_chain"]

LINE = 110  # characters of a line
# Answers that no sample cites: what they did stands in the retouches.
_APART = {"review": "about a returned file", "retouch": "for the retoucher"}


def print_chain(chain: Chain) -> None:
    """Print every link there is; a link that is missing is named."""
    console.say(_headline(chain))
    for name, lines in (
        ("photo", _photo(chain)),
        ("passed", _verdicts(chain)),
        ("face", _face(chain.face)),
        ("crop", _crop(chain)),
        ("retouch", _retouches(chain)),
        ("answers", _answers(chain)),
        ("agreed", _consensus(chain)),
        ("consent", _consent(chain)),
        ("sample", _sample(chain)),
        ("training", _uses(chain.uses)),
    ):
        console.heading(name)
        for line in lines:
            console.say(f"  {console.one_line(line)}")


def _headline(chain: Chain) -> str:
    if chain.sample is not None:
        return f"sample {chain.sample.sample_id} of samples@{chain.samples_version}"
    if chain.left_out is None:
        return f"photo {chain.photo_id}: no sample yet; the next build makes one"
    return f"photo {chain.photo_id}: no sample, since {chain.left_out}"


def _photo(chain: Chain) -> Iterator[str]:
    yield from _file(chain, "original")
    photo = chain.photo
    if photo is None:
        yield f"{chain.photo_id} is in no table any more"
        return
    yield f"{photo.width} x {photo.height} px, {photo.format}, {photo.size_bytes:,} bytes"
    yield f"camera {', '.join(_capture(photo)) or 'unknown'}"
    yield f"photographer {photo.photographer or 'unknown'}, licence {photo.licence or 'unknown'}"
    yield f"{photo.state}{_because(photo.reasons)}, subject {photo.subject_id or 'unknown'}"


def _capture(photo: Photo) -> Iterator[str]:
    taken = photo.capture
    if taken is None:
        return
    if taken.camera:
        yield taken.camera
    if taken.focal_length_35mm or taken.focal_length_mm:
        yield f"{taken.focal_length_mm or taken.focal_length_35mm:g} mm"
    if taken.aperture_f:
        yield f"f/{taken.aperture_f:g}"
    if taken.iso:
        yield f"ISO {taken.iso}"
    if taken.taken_at:
        yield moment(taken.taken_at)


def _because(reasons: Sequence[str]) -> str:
    return f" ({', '.join(reasons)})" if reasons else ""


def _verdicts(chain: Chain) -> Iterator[str]:
    verdicts = [*(chain.photo.verdicts if chain.photo else ())]
    verdicts += chain.face.verdicts if chain.face else ()
    yield from map(_verdict, verdicts)
    if not verdicts:
        yield "no gate has judged it"


def _verdict(verdict: Verdict) -> str:
    figure = "" if verdict.value is None else f" {verdict.value:.6g}"
    limit = "" if verdict.threshold is None else f", limit {verdict.threshold:.6g}"
    why = f": {verdict.reason}" if verdict.reason and not verdict.keep else ""
    return f"{'yes' if verdict.keep else 'no '} {verdict.gate}{figure}{limit}{why}"


def _face(face: Face | None) -> Iterator[str]:
    if face is None:
        yield "none found"
        return
    box = face.box
    yield f"{face.face_id} by {face.finder}, landmarks from {face.landmark_source}"
    yield (
        f"box {box.left:.0f}, {box.top:.0f} to {box.right:.0f}, {box.bottom:.0f} px,"
        f" eyes {'unknown' if face.eye_distance is None else f'{face.eye_distance:.0f} px'} apart"
    )


def _crop(chain: Chain) -> Iterator[str]:
    yield from _file(chain, "crop")
    crop, sample = chain.crop, chain.sample
    if crop is not None:
        matrix = " ".join(f"{m:.5g}" for m in crop.matrix)
        source = "retouched file" if sample is not None and sample.retouch_id else "original"
        yield f"{crop.kind} from the {source}, {crop.width} x {crop.height} px, matrix {matrix}"
    else:
        yield "none" if sample is None else "the face was cut anew since: this crop is an older one"


def _retouches(chain: Chain) -> Iterator[str]:
    yield from _file(chain, "retouch")
    used = chain.sample.retouch_id if chain.sample else None
    for r in chain.retouches:
        taken = ", the sample is cut from it" if r.retouch_id == used else ""
        yield f"{r.retouch_id[:12]} round {r.round}: {r.state}, matched by {r.match_method}{taken}"
    if not chain.retouches:
        yield "none"


def _answers(chain: Chain) -> Iterator[str]:
    for answer in chain.answers:
        yield from _answer(answer)
    here = {a.annotation.annotation_id for a in chain.answers}
    lost = sorted(set(chain.sample.annotation_ids if chain.sample else ()) - here)
    yield from (f"{name}: the sample was built from it, and it is gone" for name in lost)
    if not chain.answers and not lost:
        yield "nobody has answered"


def _answer(answer: Answer) -> Iterator[str]:
    a = answer.annotation
    version = answer.version or (moment(a.updated_at) if a.updated_at else "unknown")
    kind = next(iter(a.task_key.split(":")[1:2]), "")
    used = _APART.get(kind) or ("used" if answer.used else "not used")
    changed = f", changed since at {_when(a.updated_at)}" if answer.changed_since else ""
    flags = _because(a.flags)
    yield f"{a.annotator}: {a.decision or 'no decision'}{_because(a.reasons)}, {a.state}{flags}"
    yield f"    {a.annotation_id} of {version}, {used}{changed}"
    for name, tags in (("semantic", a.semantic_tags), ("photographic", a.photographic_tags)):
        if tags:
            yield f"    {name}: {', '.join(tags)}"
    if a.caption:
        yield f"    caption: {cell(a.caption, width=LINE)}"


def _consensus(chain: Chain) -> Iterator[str]:
    found = chain.consensus
    if found is None:
        yield "nothing is settled"
        return
    decided = "the people disagree" if found.conflict else found.decision or "nothing decided"
    share = "" if found.agreement is None else f" by {found.agreement:.0%}"
    yield f"{decided}{share} of {found.voters} voters"
    yield from map(_agreement, found.agreements)


def _agreement(found: Agreement) -> str:
    return f"    {found.question}: {found.value or 'open'}, {found.share:.0%} of {found.voters}"


def _consent(chain: Chain) -> Iterator[str]:
    found = chain.consent
    if found is None:
        yield "none: the photo may not be used"
        return
    holds = "holds now" if chain.refused is None else f"does not hold: {chain.refused}"
    yield f"{found.consent_id} {holds}"
    yield f"for {', '.join(found.purposes)}; rests on {found.basis}"
    yield _valid(found)


def _valid(consent: Consent) -> str:
    until = f" until {_when(consent.valid_until)}" if consent.valid_until else ", open"
    gone = f", withdrawn {_when(consent.withdrawn_at)}" if consent.withdrawn_at else ""
    return f"valid from {_when(consent.valid_from)}{until}{gone}"


def _when(when: datetime | None) -> str:
    return "an unknown time" if when is None else moment(when.replace(microsecond=0))


def _sample(chain: Chain) -> Iterator[str]:
    s = chain.sample
    if s is None:
        yield f"none: {chain.left_out or 'the next build makes it'}"
        return
    yield f"split {s.split}: {_person(chain)}; weight {s.weight:g}"
    native = f"{s.native_width:.0f} x {s.native_height:.0f}"
    yield f"{s.width} x {s.height} px, {native} px in the original"
    yield f"caption: {cell(s.caption, width=LINE)}"


def _person(chain: Chain) -> str:
    person = chain.sample.person if chain.sample else None
    if not person:
        return "drawn for its shot and near duplicates, since nobody says who it shows"
    known = "person"  # linked to that one by other photos
    if chain.photo is not None and chain.photo.subject_id == person:
        known = "subject"
    elif chain.face is not None and chain.face.identity_group == person:
        known = "identity group"
    return f"drawn for {known} {person}, with all {chain.person_samples} samples of it"


def _uses(uses: Sequence[Use]) -> Iterator[str]:
    for use in uses:
        did = "trained on it" if use.trained else f"held it out as {use.split}"
        model = "" if use.exported else ", no model exported"
        other = f" as sample {use.sample_id}"
        yield f"{use.run} ({use.kind}, samples@{use.samples_version}) {did}{other}{model}"
    if not uses:
        yield "no run is pinned to a version that holds it"


def _file(chain: Chain, what: str) -> Iterator[str]:
    yield from (_file_line(f) for f in chain.files if f.what == what)


def _file_line(file: File) -> str:
    said = {
        "present": "its hash holds",
        "missing": "the file is not there",
        "damaged": "the file is not what it was: its hash differs",
        "elsewhere": "not on this machine, not checked",
    }
    return f"{file.path} {file.sha256[:12]}: {said[file.state]}"
