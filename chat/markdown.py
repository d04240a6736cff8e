"""Renders the Markdown of answers as HTML that is safe in a page. An answer is hostile text.

There are three fences, each enough by itself: the parser knows no HTML; our rules turn images
into links and let every link show its host; and the result passes a strict allow-list. The copy
buttons are added only after that, so no text can make one.

A text may also be made to take long. So each has a share of time, and code is highlighted in the
helper process (gateway/untrusted/), for all texts of a page at once. A text that takes too long is
shown as it was written.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.ruler import StateBase
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments.token import STANDARD_TYPES

from gateway.untrusted.code import Code, Highlighted, highlight

# Characters of texts that are rendered together; those after that are shown as they were written.
MOST_RENDERED = 300_000
MOST_INLINE = 10_000  # characters of one paragraph; parsing takes time in the square of its length
MOST_AMPERSANDS = 20_000  # of one text; the sanitiser takes 4 µs for each
MOST_TOKENS = 20_000  # of one text, such as the cells of tables: an empty cell takes one character
TEXT_S = 0.25  # of processor time to parse one text
PAGE_S = 1.0  # for all texts of a page
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


# The place of a block of code until it is highlighted. Markdown turns it into U+FFFD in a text.
_HERE = "\0"


def render(text: str) -> str:
    """Return the HTML of `text`."""
    (html,) = render_all([text])
    return html


def render_all(texts: Sequence[str]) -> list[str]:
    """Return the HTML of each text. The first ones come first if it takes too long."""
    parsed, left, ends_at = [], MOST_RENDERED, time.thread_time() + PAGE_S
    for text in texts:
        left -= len(text)
        within_s = ends_at - time.thread_time() if left >= 0 else 0
        parsed.append(parse(text, within_s=within_s))
    # Of many blocks of code the last ones are highlighted.
    highlighted = highlight(code for one in reversed(parsed) for code in one.codes)
    return [one.html(highlighted) for one in parsed]


def as_written(text: str) -> str:
    """Return `text` as HTML without any formatting, for text that takes too long to render."""
    return f'<p class="as-written">{escape(well_formed(text))}</p>' if text else ""


@dataclass(frozen=True)
class Parsed:
    """A text as HTML that isn't safe yet, with places for its blocks of code."""

    unsafe: str
    codes: list[Code]
    took_too_long: bool = False

    def html(self, highlighted: Highlighted) -> str:
        """Return the safe HTML. Code that isn't in `highlighted` stays plain."""
        if self.took_too_long:
            return self.unsafe
        first, *others = self.unsafe.split(_HERE)
        parts = [first]
        for code, after in zip(self.codes, others, strict=True):
            parts += highlighted.get(code) or escape(code[1]), after
        return _with_buttons(_cleaner.clean("".join(parts)))


def parse(text: str, *, within_s: float = TEXT_S) -> Parsed:
    """Parse `text`, or return it as it was written if that takes too long."""
    codes: list[Code] = []
    within_s = min(within_s, TEXT_S)
    try:
        if within_s <= 0 or text.count("&") > MOST_AMPERSANDS:
            raise TooLong
        env = {"codes": codes, "ends_at": time.thread_time() + within_s}
        return Parsed(_markdown.render(well_formed(text), env), codes)
    except TooLong:
        return Parsed(as_written(text), [], took_too_long=True)


def blocks(text: str) -> list[Token]:
    """Return the blocks of `text`. Raises TooLong."""
    found = _Tokens()
    env = {"ends_at": time.thread_time() + TEXT_S}
    _markdown.block.parse(text, _markdown, env, found)
    return found


def well_formed(text: str) -> str:
    """Return `text` with one kind of line end, and with lone surrogates replaced."""
    return _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


# --- Time ----------------------------------------------------------------------------------------


class TooLong(Exception):
    """A text takes too long to parse."""


class _Tokens(list[Token]):
    """Tokens that stop the parser, which appends them, when they are too many."""

    def append(self, token: Token) -> None:
        if len(self) >= MOST_TOKENS:
            raise TooLong
        super().append(token)


def _watch_time(state: StateBase, *_lines: Any) -> bool:
    """Stop the parser in time. As a rule, it is called at each line and finds no block there."""
    if time.thread_time() > state.env["ends_at"]:
        raise TooLong
    return False


def _limit_tokens(state: StateCore) -> None:
    state.tokens = _Tokens()


def _parse_inline(state: StateCore) -> None:
    """Parse the inline Markdown of all blocks but long ones, which become plain text."""
    for token in state.tokens:
        if token.type == "inline":
            _watch_time(state)
            if len(token.content) > MOST_INLINE:
                token.children, token.content = [_text(token.content)], ""
            else:
                token.children = []
                state.md.inline.parse(token.content, state.md, state.env, token.children)


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


def _code_block(
    _renderer: Any, tokens: Sequence[Token], index: int, _options: Any, env: dict[str, Any]
) -> str:
    """Return the `<pre>` of a block of code. Its language is in a class that becomes the label."""
    token = tokens[index]
    named = unescapeAll(token.info).split(maxsplit=1)
    language = named[0].lower() if named and _LANGUAGE.fullmatch(named[0]) else ""
    env["codes"].append((language, token.content))
    return f'<pre><code class="language-{escape(language)}">{_HERE}</code></pre>\n'


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
    options: dict[str, Any] = {"html": False, "linkify": False, "breaks": True, "maxNesting": 20}
    markdown = MarkdownIt("js-default", options)
    markdown.disable("reference")
    markdown.validateLink = _is_web_or_mail  # type: ignore[method-assign]
    markdown.add_render_rule("fence", _code_block)
    inside = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("table", "watch time", _watch_time, {"alt": inside})
    markdown.core.ruler.before("block", "limit tokens", _limit_tokens)
    markdown.core.ruler.at("inline", _parse_inline)
    markdown.core.ruler.push("show where links lead", _show_where_links_lead)
    markdown.core.ruler.push("fit into the page", _fit_into_the_page)
    return markdown


_markdown = _make_markdown()
_cleaner = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute_filter,
    allowed_classes=_CLASSES,
    url_schemes={"http", "https", "mailto"},
    link_rel=_REL,
)
