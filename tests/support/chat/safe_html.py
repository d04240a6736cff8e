"""Whether HTML holds only what an answer may hold. Independent of the sanitiser: html.parser."""

import re
from html.parser import HTMLParser

from pygments.token import STANDARD_TYPES

TAGS = {"a", "bdi", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol"}
TAGS |= {"p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
OURS = {"button", "div"}
VOID = {"br", "hr"}
TOKEN_CLASSES = {name for name in STANDARD_TYPES.values() if name}
LINK = re.compile(r"https?://[a-zA-Z0-9.\[\]:-]+([/?#].*)?|mailto:[\w.+-]+@[a-zA-Z0-9.-]+")
# What each tag may carry, each value in full.
ATTRIBUTES = {
    ("a", "href"): LINK,
    ("a", "target"): re.compile("_blank"),
    ("a", "rel"): re.compile("noopener nofollow ugc"),
    ("bdi", "class"): re.compile("host"),
    ("ol", "start"): re.compile(r"\d+"),
    ("td", "class"): re.compile("left|center|right"),
    ("th", "class"): re.compile("left|center|right"),
    ("span", "class"): re.compile("|".join(sorted(TOKEN_CLASSES))),
    ("div", "class"): re.compile("code|code-head|scroll"),
    ("div", "role"): re.compile("group"),
    ("div", "aria-label"): re.compile("Table"),
    ("div", "tabindex"): re.compile("0"),
    ("pre", "tabindex"): re.compile("0"),
    ("button", "type"): re.compile("button"),
    ("button", "class"): re.compile("plain"),
    ("button", "data-copy-code"): re.compile(""),
}


def faults(html: str) -> list[str]:
    """What is wrong with `html`: nothing, if it is safe and whole."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.faults + [f"<{tag}> is left open" for tag in reader.open]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in TAGS | OURS:
            self.faults.append(f"<{tag}>")
        for name, value in attributes:
            allowed = ATTRIBUTES.get((tag, name))
            if allowed is None or not allowed.fullmatch(value or ""):
                self.faults.append(f"<{tag} {name}={value!r}>")
        if tag == "a" and {name for name, _ in attributes} - {"href"} != {"target", "rel"}:
            self.faults.append("a link without target or rel")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_comment(self, data):
        self.faults.append(f"<!--{data}-->")

    def handle_decl(self, declaration):
        self.faults.append(f"<!{declaration}>")

    def handle_pi(self, data):
        self.faults.append(f"<?{data}>")

    unknown_decl = handle_decl
