"""Markdown of answers as HTML that may stand in a page. An answer is hostile text.

Three fences, each of which would do: the parser knows no HTML, our rules make every image a link
and every link one that shows where it leads, and what comes out passes a strict allow-list. Only
then are the copy buttons added, which no text can make.

A top-level block means the same wherever it stands (there are no link definitions), so while an
answer streams its finished blocks are rendered once and only the last one again and again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import cast
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

MOST_HIGHLIGHTED = 20_000  # characters; highlighting more would take longer than reading it
MOST_INLINE = 10_000  # characters of one paragraph; emphasis and brackets cost their square
# Known languages of code: a lexer is a program of regular expressions, and some explode.
_HIGHLIGHTED = """
    bash c c++ cpp css diff docker dockerfile go golang html ini java javascript js json jsx
    kotlin lua make makefile php py python r rb rs ruby rust sh shell sql swift toml ts tsx
    typescript xml yaml yml
"""
HIGHLIGHTED = frozenset(_HIGHLIGHTED.split())
# No user, no escapes, nothing that two parsers could read as two hosts.
_WEB = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*\.?|\[[0-9a-f:.]+\])(:\d{1,5})?([/?#].*)?", re.I | re.A
)
_MAIL = re.compile(r"mailto:[\w.+-]+@[a-z0-9-]+(\.[a-z0-9-]+)*", re.I | re.A)
_LANGUAGE = re.compile(r"[\w+#.-]{1,20}", re.A)
_SURROGATE = re.compile("[\ud800-\udfff]")

_TAGS = {"a", "bdi", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol"}
_TAGS |= {"p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
_ATTRIBUTES = {"a": {"href", "target"}, "ol": {"start"}, "code": {"class"}}
_CLASSES = {
    "bdi": {"host"},
    "span": set(STANDARD_TYPES.values()) - {""},
    "td": {"left", "center", "right"},
    "th": {"left", "center", "right"},
}
_REL = "noopener nofollow ugc"


def render(text: str) -> str:
    """The HTML of `text`."""
    return _with_buttons(_cleaner.clean(_markdown.render(_well_formed(text))))


def as_written(text: str) -> str:
    """The same text, as it is: for what is too long to be rendered."""
    return f'<p class="as-written">{escape(_well_formed(text))}</p>' if text else ""


@dataclass(frozen=True)
class Update:
    """What became of an answer since the last one: `closed` is new and final, `open` is not."""

    closed: str
    open: str


class Streaming:
    """An answer that grows. All that was closed, and the last `open`, are its `render`."""

    def __init__(self) -> None:
        self._closed_to = 0

    def update(self, text: str) -> Update:
        """`text` is the answer so far, from its beginning."""
        rest = _well_formed(text)[self._closed_to :]
        length = _closed_length(rest)
        self._closed_to += length
        return Update(render(rest[:length]), render(rest[length:]))


def _closed_length(text: str) -> int:
    """How much of the beginning of `text` can't change any more, whatever is added to it.

    Whole lines alone count: "2" is a paragraph until it becomes "2." and joins the list before.
    """
    lines = text.split("\n")[:-1]
    blocks: list[Token] = []
    _markdown.block.parse("\n".join(lines), _markdown, {}, blocks)
    blocks = [token for token in blocks if token.level == 0 and token.map]
    if not blocks:
        return 0
    is_finished = _is_finished(blocks[-1], lines)
    count = len(lines) if is_finished else cast(list[int], blocks[-1].map)[0]
    return sum(len(line) + 1 for line in lines[:count])


def _is_finished(last: Token, lines: list[str]) -> bool:
    """Whether no line after `lines` can join their last block. A list is never finished."""
    start, end = cast(list[int], last.map)
    if last.type in ("paragraph_open", "table_open"):
        return end < len(lines)  # A blank line follows.
    if last.type == "fence":
        closing = rf" {{0,3}}{re.escape(last.markup)}{re.escape(last.markup[0])}*[ \t]*"
        return end - start > 1 and bool(re.fullmatch(closing, lines[end - 1]))
    return last.type in ("heading_open", "hr")


def _well_formed(text: str) -> str:
    """`text` with one kind of line end, and without halves of characters."""
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


# --- Links and images ----------------------------------------------------------------------------


def _is_web_or_mail(url: str) -> bool:
    return bool(_WEB.fullmatch(url) or _MAIL.fullmatch(url))


def _host(url: str) -> str:
    if url.lower().startswith("mailto:"):
        return url[len("mailto:") :]
    return urlsplit(url).netloc.lower()


def _show_where_links_lead(state: StateCore) -> None:
    for token in state.tokens:
        if token.children:
            token.children = _with_hosts(token.children)


def _with_hosts(tokens: Sequence[Token]) -> list[Token]:
    """`tokens` with the host after each link, and a link in the place of each image."""
    shown: list[Token] = []
    link: tuple[str, int] | None = None  # where the link that is open leads, and where it began
    for token in tokens:
        if token.type == "image":
            shown += _image_as_link(token, inside_link=link is not None)
            continue
        if token.type == "link_open":
            link = (str(token.attrs["href"]), len(shown) + 1)
            token.attrs = {"href": link[0], "target": "_blank"}
        shown.append(token)
        if token.type == "link_close" and link:
            href, start = link
            if "".join(part.content for part in shown[start:-1]) != href:
                shown += _host_after(href)
            link = None
    return shown


def _image_as_link(image: Token, *, inside_link: bool) -> list[Token]:
    """Nothing is fetched from another host unless the reader follows the link."""
    href = str(image.attrs["src"])
    label = _text(f"Image: {image.content}" if image.content else "Image")
    if not _is_web_or_mail(href):
        return [label]
    if inside_link:
        return [label, *_host_after(href)]
    opening = Token("link_open", "a", 1, attrs={"href": href, "target": "_blank"})
    return [opening, label, Token("link_close", "a", -1), *_host_after(href)]


def _host_after(href: str) -> list[Token]:
    opening = Token("host_open", "bdi", 1, attrs={"class": "host"})
    return [_text(" "), opening, _text(f"({_host(href)})"), Token("host_close", "bdi", -1)]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


# --- Blocks --------------------------------------------------------------------------------------


def _fit_into_the_page(state: StateCore) -> None:
    """Headings stand below the page's own; columns are aligned by a class, not by a style."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"class": str(token.attrs["style"]).removeprefix("text-align:")}


def _leave_long_paragraphs(state: StateCore) -> None:
    """As they are, before anyone looks into them."""
    for token in state.tokens:
        if token.type == "inline" and len(token.content) > MOST_INLINE:
            token.children = [_text(token.content)]
            token.content = ""


def _highlighted(code: str, language: str, _attributes: str) -> str:
    """The `<pre>` of `code`; its language is in a class, which becomes the label."""
    language = language.lower() if _LANGUAGE.fullmatch(language) else ""
    if language in HIGHLIGHTED and len(code) <= MOST_HIGHLIGHTED:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
        inner = highlight(code, lexer, _formatter)
    else:
        inner = escape(code)
    return f'<pre><code class="language-{escape(language)}">{inner}</code></pre>'


def _attribute_filter(tag: str, attribute: str, value: str) -> str | None:
    if (tag, attribute) == ("code", "class"):
        language = value.removeprefix("language-")
        return value if language == "" or _LANGUAGE.fullmatch(language) else None
    if (tag, attribute) == ("ol", "start"):
        return value if value.isdigit() else None
    if (tag, attribute) == ("a", "href"):
        return value if _is_web_or_mail(value) else None
    return value


# In sanitised HTML a "<" begins a tag: text has it as "&lt;", no attribute that is let through
# can hold one.
_TABLE_HEAD = '<div class="scroll" role="group" aria-label="Table" tabindex="0">'
_CODE = re.compile(r'<pre><code(?: class="language-([\w+#.-]*)")?>', re.A)


def _with_buttons(html: str) -> str:
    """Every code block in a frame with its language and a button, every table free to scroll."""
    html = _CODE.sub(_code_head, html).replace("</code></pre>", "</code></pre></div>")
    return html.replace("<table>", f"{_TABLE_HEAD}<table>").replace("</table>", "</table></div>")


def _code_head(match: re.Match) -> str:
    label = match[1] or "text"
    return (
        f'<div class="code"><div class="code-head"><span>{label}</span>'
        '<button type="button" class="plain" data-copy-code>Copy</button></div>'
        '<pre tabindex="0"><code>'
    )


def _make_markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "breaks": True, "maxNesting": 20}
    markdown = MarkdownIt("js-default", {**options, "highlight": _highlighted})
    markdown.disable("reference")
    markdown.validateLink = _is_web_or_mail  # type: ignore[method-assign]
    markdown.core.ruler.before("inline", "leave long paragraphs", _leave_long_paragraphs)
    markdown.core.ruler.push("show where links lead", _show_where_links_lead)
    markdown.core.ruler.push("fit into the page", _fit_into_the_page)
    return markdown


_formatter = HtmlFormatter(nowrap=True)
_markdown = _make_markdown()
_cleaner = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute_filter,
    allowed_classes=_CLASSES,
    url_schemes={"http", "https", "mailto"},
    link_rel=_REL,
)
