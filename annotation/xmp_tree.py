"""Pure: the tree of one XMP packet, in which single properties are read and set.

A property may stand as an attribute or as an element, on any rdf:Description; it is set where it
stands. New ones go into an rdf:Description of our own, so that those of other programs keep theirs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from annotation.xmp_names import PREFIXES, RDF, XML_LANG
from data_manifests.errors import InputError

__all__ = ["XmpTree", "empty_tree", "parse_tree"]

_ABOUT = f"{RDF}about"
_LISTS = tuple(f"{RDF}{kind}" for kind in ("Bag", "Seq", "Alt"))
_EMPTY = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="AuthFace">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


@dataclass(slots=True)
class XmpTree:
    """A parsed packet; `head` and `tail` are the bytes around its root element."""

    root: Any
    rdf: Any
    head: bytes = b""
    tail: bytes = b""

    def text(self, name: str) -> str | None:
        """The value of a simple property, none if it is missing or has a structure."""
        for node in self._descriptions():
            if name in node.attrib:
                return str(node.attrib[name])
            child = node.find(name)
            if child is not None and not len(child):
                return str(child.text or "")
        return None

    def set_text(self, name: str, value: str) -> None:
        """Set a simple property where it stands, else in the description of our own."""
        for node in self._descriptions():
            if name in node.attrib:
                node.set(name, value)
                return
            child = node.find(name)
            if child is not None:
                for inner in list(child):
                    child.remove(inner)
                child.text = value
                return
        self._own().set(name, value)

    def remove(self, name: str) -> None:
        """Take a property out, however it stands."""
        for node in self._descriptions():
            node.attrib.pop(name, None)
            for child in node.findall(name):
                _drop(child)

    def items(self, name: str) -> list[str]:
        """The values of a list property in their order."""
        return [str(li.text or "").strip() for li in self._list_items(name)]

    def edit_items(self, name: str, gone: Collection[str], added: Sequence[str]) -> None:
        """Take values out of a list and append others; the kind of an existing list stays."""
        for li in self._list_items(name):
            if str(li.text or "").strip() in gone:
                _drop(li)
        if not added:
            return
        listed = self._list(name, "Bag")
        for value in added:
            _append(listed, f"{RDF}li").text = value

    def default_text(self, name: str) -> str | None:
        """The x-default text of a property in many languages, or its plain text."""
        for li in self._list_items(name):
            if li.get(XML_LANG) == "x-default":
                return str(li.text or "")
        return self.text(name) or None

    def set_default_text(self, name: str, value: str) -> None:
        """Set the x-default text; the other languages stay."""
        if self.text(name) is not None:  # some programs write it as plain text
            self.remove(name)
        listed = self._list(name, "Alt")
        for li in listed.findall(f"{RDF}li"):
            if li.get(XML_LANG) == "x-default":
                li.text = value
                return
        li = _append(listed, f"{RDF}li")
        li.set(XML_LANG, "x-default")
        li.text = value
        listed.insert(0, li)  # the default language stands first: XMP part 1, 8.2.2.4

    def remove_default_text(self, name: str) -> None:
        """Take the x-default text out, and the property if nothing is left of it."""
        for li in self._list_items(name):
            if li.get(XML_LANG) == "x-default":
                _drop(li)
        if not self._list_items(name):
            self.remove(name)

    def to_bytes(self) -> bytes:
        """The packet in UTF-8."""
        body: bytes = etree.tostring(self.root, encoding="utf-8", with_tail=False)
        return self.head + body + self.tail

    def _descriptions(self) -> Iterator[Any]:
        return iter(self.rdf.findall(f"{RDF}Description"))

    def _own(self) -> Any:
        """The description that our prefixes stand on; made if there is none."""
        about = ""
        for node in self._descriptions():
            about = about or node.get(_ABOUT, "")
            if node.nsmap.get("af") == PREFIXES["af"] and set(PREFIXES) <= set(node.nsmap):
                return node
        node = _append(self.rdf, f"{RDF}Description", dict(PREFIXES))
        node.set(_ABOUT, about)
        return node

    def _list_items(self, name: str) -> list[Any]:
        return [
            li
            for node in self._descriptions()
            for child in node.findall(name)
            for listed in child
            if listed.tag in _LISTS
            for li in listed.findall(f"{RDF}li")
        ]

    def _list(self, name: str, kind: str) -> Any:
        """The list of a property; an empty one of this kind if there is none."""
        for node in self._descriptions():
            for child in node.findall(name):
                found = next((c for c in child if c.tag in _LISTS), None)
                return _append(child, f"{RDF}{kind}") if found is None else found
        return _append(_append(self._own(), name), f"{RDF}{kind}")


def parse_tree(data: bytes) -> XmpTree:
    """The tree of a packet that holds no document type; raises InputError if it is no XMP."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=False
    )
    try:
        root = etree.fromstring(data.strip(b" \n\r\t"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InputError(f"The sidecar is no valid XML: {error}.", "Write it anew.") from error
    tag = f"{RDF}RDF"
    rdf = root if root.tag == tag else root.find(f".//{tag}")
    if rdf is None:
        raise InputError("The sidecar holds no rdf:RDF, so it is no XMP.", "Look at the file.")
    return XmpTree(root, rdf, *_around(data, root))


def empty_tree() -> XmpTree:
    """A new packet that says nothing yet."""
    return parse_tree(_EMPTY)


def _around(data: bytes, root: Any) -> tuple[bytes, bytes]:
    """What stands before and after the root element, where the bytes are those of UTF-8."""
    encoding = (root.getroottree().docinfo.encoding or "UTF-8").upper()
    prefix = f"{root.prefix}:" if root.prefix else ""
    name = re.escape(f"{prefix}{etree.QName(root).localname}".encode())
    if encoding not in ("UTF-8", "ASCII", "US-ASCII") or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return b"", b"\n"
    start = re.search(rb"<" + name + rb"[\s>/]", data)
    ends = list(re.finditer(rb"</" + name + rb"\s*>", data))
    return (data[: start.start()] if start else b""), (data[ends[-1].end() :] if ends else b"\n")


def _append(parent: Any, tag: str, names: dict[str, str] | None = None) -> Any:
    """A new last child, set in as deep as its brothers are."""
    depth = len(list(parent.iterancestors())) + 1
    before, after = "\n" + " " * depth, "\n" + " " * (depth - 1)
    last = parent[-1] if len(parent) else None
    if last is None:
        parent.text = before
    else:
        last.tail = before
    child = etree.SubElement(parent, tag, nsmap=names)
    child.tail = after
    return child


def _drop(node: Any) -> None:
    """Take an element out; lxml would take the white space behind it along."""
    parent, before = node.getparent(), node.getprevious()
    if node.getnext() is None:
        tail = node.tail
        if before is not None:
            before.tail = tail
        else:
            parent.text = tail if len(parent) == 1 else parent.text
    parent.remove(node)
