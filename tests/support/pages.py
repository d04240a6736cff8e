"""What a browser finds in a page: where it leads, and what it would ask for by itself."""

from collections.abc import Iterator
from html.parser import HTMLParser

# Attributes whose address a browser asks for, or sends to, without a click on a link.
ASKED_FOR = ("src", "srcset", "href", "action", "formaction", "data", "poster", "xlink:href")


class _Elements(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def links_in(text: str) -> list[str]:
    return sorted({attrs["href"] for tag, attrs in _Elements(text).found if tag == "a"})


def ids_in(text: str) -> list[str]:
    return [attrs["id"] for _, attrs in _Elements(text).found if "id" in attrs]


def asked_for(text: str) -> Iterator[str]:
    """The addresses that the page itself makes a browser ask for; links of people aside."""
    for tag, attrs in _Elements(text).found:
        for name, value in attrs.items():
            if name.startswith("hx-") or (name in ASKED_FOR and (tag, name) != ("a", "href")):
                yield value


def inline_styles_and_scripts(text: str) -> list[str]:
    return [
        tag
        for tag, attrs in _Elements(text).found
        if tag == "style"
        or (tag == "script" and "src" not in attrs)
        or any(name == "style" or name.startswith("on") for name in attrs)
    ]
