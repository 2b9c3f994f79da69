"""What docs/json.md says of the JSON that commands print, and where an object contradicts it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cases import ROOT

TEXT = (ROOT / "docs" / "json.md").read_text()
_ROW = re.compile(r"^\| (`[^|]*`) \| ([^|]*?) \|", re.MULTILINE)
_ALSO = re.compile(r"^Also the keys of \[.*?\]\(#(.*?)\)", re.MULTILINE)
_LINK = re.compile(r"\[.*\]\(#(.*)\)")
_ITEMS = ("[]", "*")
_KINDS = {
    str: "text",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "list",
}


def anchor(heading):
    """What a link to a heading says."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _sections():
    """Anchor -> the text below the heading, up to the next one."""
    parts = re.split(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)
    return dict(zip(map(anchor, parts[1::2]), parts[2::2], strict=True))


SECTIONS = _sections()
ROWS = {
    (name, key)
    for name, text in SECTIONS.items()
    for keys, _ in _ROW.findall(text)
    for key in keys.split(", ")
}


@dataclass
class Value:
    """What may stand at a place.

    Attributes:
        kinds: Of JSON values.
        rows: Where it is documented.
        children: By key; `*` for any key, `[]` for the items of a list.
    """

    kinds: set[str] = field(default_factory=set)
    is_optional: bool = False
    rows: set[tuple[str, str]] = field(default_factory=set)
    children: dict[str, Value] = field(default_factory=dict)

    def child(self, name):
        self.kinds.add("list" if name == "[]" else "object")
        return self.children.setdefault(name, Value())

    def contradictions(self, found, place="", *, printed=None):
        """Yield a sentence for each; add the rows of what is there to `printed`."""
        kind = "null" if found is None else _KINDS[type(found)]
        if printed is not None:
            printed |= self.rows
        if "any" in self.kinds:
            return
        if kind not in self.kinds and not (kind == "integer" and "number" in self.kinds):
            yield f"{place} is {kind}, documented as {', '.join(sorted(self.kinds))}"
        elif isinstance(found, list):
            for item in found:
                yield from self.children["[]"].contradictions(item, f"{place}[]", printed=printed)
        elif isinstance(found, dict):
            for name, item in found.items():
                child = self.children.get(name) or self.children.get("*")
                if child is None:
                    yield f"{place}.{name} is printed and not documented"
                else:
                    yield from child.contradictions(item, f"{place}.{name}", printed=printed)
            required = {
                name
                for name, child in self.children.items()
                if name not in _ITEMS and not child.is_optional
            }
            yield from (
                f"{place}.{name} is documented and not printed"
                for name in sorted(required - set(found))
            )


def documented(heading):
    """Return what the section of a heading says."""
    root = Value(kinds={"object"})
    _add(root, anchor(heading))
    return root


def _add(value, section):
    for other in _ALSO.findall(SECTIONS[section]):
        _add(value, other)
    for keys, kinds in _ROW.findall(SECTIONS[section]):
        for key in keys.split(", "):
            _add_row(value, section, key, kinds)


def _add_row(value, section, key, kinds):
    named = value
    for name in key.strip("`").replace("[]", ".[]").split("."):
        value = value.child(name)
        named = value if name not in _ITEMS else named
    kinds, _, optional = kinds.partition(", ")
    named.is_optional |= bool(optional)
    value.rows.add((section, key))
    for kind in kinds.split(" or "):
        if kind == "null":
            named.kinds.add(kind)
            value.kinds.add(kind)
        elif link := _LINK.fullmatch(kind):
            value.kinds.add("object")
            _add(value, link[1])
        else:
            value.kinds.add(kind)
