"""Renders the Markdown of answers as HTML that is safe in a page. An answer is hostile text.

There are three fences, each enough by itself: the parser knows no HTML; our rules turn images
into links and let every link show its host; and the result passes a strict allow-list. The copy
buttons are added only after that, so no text can make one.

Without link definitions, a top-level block means the same wherever it stands. So while an answer
streams, its finished blocks are rendered once, and only the last block again and again.
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
MOST_INLINE = 10_000  # characters of one paragraph; parsing takes time in the square of its length
# The languages that are highlighted. Lexers are regular expressions, and some take forever.
_HIGHLIGHTED = """
    bash c c++ cpp css diff docker dockerfile go golang html ini java javascript js json jsx
    kotlin lua make makefile php py python r rb rs ruby rust sh shell sql swift toml ts tsx
    typescript xml yaml yml
"""
HIGHLIGHTED = frozenset(_HIGHLIGHTED.split())
# A URL without user and escapes, with nothing that two parsers could read as different hosts.
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
    """Return the HTML of `text`."""
    return _with_buttons(_cleaner.clean(_markdown.render(_well_formed(text))))


def as_written(text: str) -> str:
    """Return `text` as HTML without any formatting, for text that is too long to render."""
    return f'<p class="as-written">{escape(_well_formed(text))}</p>' if text else ""


@dataclass(frozen=True)
class Update:
    """The news about an answer since the last update: `closed` is new and final, `open` isn't."""

    closed: str
    open: str


class Streaming:
    """An answer that grows. All `closed` together and the last `open` make the HTML of `render`."""

    def __init__(self) -> None:
        self._closed_to = 0

    def update(self, text: str) -> Update:
        """Return the news. `text` is the whole answer so far."""
        rest = _well_formed(text)[self._closed_to :]
        length = _closed_length(rest)
        self._closed_to += length
        return Update(render(rest[:length]), render(rest[length:]))


def _closed_length(text: str) -> int:
    """Return the length of the beginning of `text` that no further text can change.

    Only whole lines count: "2" is a paragraph until it becomes "2." and joins the list before it.
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
    """True when no further line can join the last block of `lines`. A list is never finished."""
    start, end = cast(list[int], last.map)
    if last.type in ("paragraph_open", "table_open"):
        return end < len(lines)  # A blank line ends the block.
    if last.type == "fence":
        closing = rf" {{0,3}}{re.escape(last.markup)}{re.escape(last.markup[0])}*[ \t]*"
        return end - start > 1 and bool(re.fullmatch(closing, lines[end - 1]))
    return last.type in ("heading_open", "hr")


def _well_formed(text: str) -> str:
    """Return `text` with one kind of line end, and with lone surrogates replaced."""
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
    """Return `tokens` with the host after each link, and each image replaced by a link."""
    shown: list[Token] = []
    link: tuple[str, int] | None = None  # target and start of the open link
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
    """Return a link to an image, so that another host is asked only if the reader follows it."""
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
    """Lower headings below the page's own, and align columns by a class instead of a style."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type in ("th_open", "td_open") and "style" in token.attrs:
            token.attrs = {"class": str(token.attrs["style"]).removeprefix("text-align:")}


def _leave_long_paragraphs(state: StateCore) -> None:
    """Make a long paragraph plain text before its inline Markdown is parsed."""
    for token in state.tokens:
        if token.type == "inline" and len(token.content) > MOST_INLINE:
            token.children = [_text(token.content)]
            token.content = ""


def _highlighted(code: str, language: str, _attributes: str) -> str:
    """Return the `<pre>` of `code`, with the language in a class that becomes the label."""
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


# In sanitised HTML a "<" always begins a tag: text has "&lt;", and the allowed attributes can't
# hold one.
_TABLE_HEAD = '<div class="scroll" role="group" aria-label="Table" tabindex="0">'
_CODE = re.compile(r'<pre><code(?: class="language-([\w+#.-]*)")?>', re.A)


def _with_buttons(html: str) -> str:
    """Frame every code block with its language and a copy button, and make every table scroll."""
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
