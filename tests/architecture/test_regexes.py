"""Every regular expression of product code, with the text that it meets and why it is linear.

A regex that backtracks can take hours for a short text, and nothing else of the process runs
meanwhile. Texts that need others, such as code to highlight, belong into gateway/untrusted/.
"""

import collections
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.regexes import found

LENGTHS = (16, 20, 24, 28, 300, 3_000, 15_000)  # characters
MOST_S = 0.1  # of processor time
FRAGMENTS = 10  # of several characters, for each expression


@dataclass(frozen=True)
class Meets:
    """`most` is the bound on the text, in characters, if the expression isn't linear."""

    text: str
    linear_because: str
    by: str = "search"
    most: int = 10**9


ONE_CLASS = "a run of one class of characters from a fixed beginning, with nothing after it"
FIXED = "its length is fixed or bounded"
DISTINCT = "each run ends at a character that isn't in it, so there is one way to match"
ONE_RUN = "one run of one class; no two parts can match the same character"

KNOWN = {
    "accounts/urls.py: ^accounts/password/reset/key/(?P<ui… 2c7c74fd": Meets(
        "a path, of at most 8 kB", DISTINCT, by="match"
    ),
    "gateway/failures.py: roles must alternate|(?:unexpected|… 94ffbac3": Meets(
        "an error of a provider, cut to MAX_SEARCHED", FIXED
    ),
    "accounts/mailbox.py: f'^{pattern}$'": Meets("our own mails, line by line", ONE_CLASS),
    r"chat/files/markdown_file.py: (?P<escape>\\*)( \#\#\ (?P<role>Sys… b601b432": Meets(
        "a line of an imported file", DISTINCT, by="fullmatch"
    ),
    "chat/growing.py: closing": Meets("a line of an answer", DISTINCT, by="fullmatch"),
    r"chat/markdown.py: https?://([a-z0-9-]+(\.[a-z0-9-]+)*… 0ede1457": Meets(
        "the address of a link in an answer", DISTINCT, by="fullmatch"
    ),
    r"chat/markdown.py: mailto:[\w.+-]+@[a-z0-9-]+(\.[a-z0-… d412d24a": Meets(
        "the address of a link in an answer", DISTINCT, by="fullmatch"
    ),
    r"chat/markdown.py: [\w+#.-]{1,20}": Meets(
        "the language of a block of code", FIXED, by="fullmatch"
    ),
    r"chat/markdown.py: [\ud800-\udfff]": Meets("an answer", FIXED),
    r'chat/markdown.py: <pre><code(?: class="language-([\w+… 29eb88ef': Meets(
        "an answer as sanitised HTML", DISTINCT
    ),
    "chat/messages.py: data:image/(png|jpeg|gif|webp);base… 98750408": Meets(
        "the beginning of a picture's URL", FIXED, by="match"
    ),
    "chat/pictures.py: data:image/(?P<kind>png|jpeg|gif|we… f2d4865f": Meets(
        "a picture's URL", ONE_CLASS, by="fullmatch"
    ),
    r"chat/pictures.py: \xff([^\x00\xff])": Meets("the bytes of a picture", FIXED),
    r"chat/pictures.py: \xff[^\x00\xff\xd0-\xd7]": Meets("the bytes of a picture", FIXED),
    r"chat/search.py: \S+": Meets("a message that was found", ONE_RUN),
    "gateway/catalogue/discovery.py: [^a-z0-9._]+": Meets("a provider's name of a model", ONE_RUN),
    "gateway/catalogue/files.py: [a-z0-9][a-z0-9._-]*": Meets(
        "our own catalogue", ONE_CLASS, by="fullmatch"
    ),
    "gateway/dialects/anthropic/fields.py: (?!data:)[A-Za-z0-9+/]": Meets(
        "a picture in a request", FIXED, by="match"
    ),
    "gateway/dialects/anthropic/fields.py: WEB_ADDRESS": Meets(
        "an address in a request: the expression of dialects/chat/messages.py", FIXED, by="match"
    ),
    r"gateway/dialects/anthropic/limits.py: (?:(?P<m>\d+)m)?(?:(?P<s>[\d.]+)s)?… 239b0d25": Meets(
        "a duration that we write", "three runs, each tried once", by="fullmatch"
    ),
    r"gateway/dialects/anthropic/request.py: x-anthropic-billing-header:[^\n]*\n… 3deb98db": Meets(
        "a system prompt", DISTINCT
    ),
    "gateway/dialects/chat/fields.py: [a-zA-Z0-9_-]{1,128}": Meets(
        "a name in a request", FIXED, by="fullmatch"
    ),
    r"gateway/dialects/chat/fields.py: [0-9]{1,9}(\.[0-9]{1,18})?": Meets(
        "a price in a request", FIXED, by="fullmatch"
    ),
    r"gateway/dialects/chat/messages.py: [Hh][Tt][Tt][Pp][Ss]?://[^\s/]|[Dd]… ad3e00f8": Meets(
        "the beginning of a picture's address in a request", DISTINCT, by="match"
    ),
    "gateway/failures.py: context[ _](?:length|size|window)|m… abfc3b90": Meets(
        "an error of a provider, cut to MAX_SEARCHED", "the text is short", most=1_000
    ),
    r"gateway/failures.py: [0-9]+(?:\.[0-9]*)?": Meets(
        "a header of a provider", DISTINCT, by="match"
    ),
    r"gateway/failures.py: \w+://\S+ # web addresses | [\w.+-]… 1f61e4da": Meets(
        "an error of a provider, cut to MAX_SEARCHED", "the text is short", most=1_000
    ),
    r"gateway/keys/fields.py: f'(?=.*\\S)[^\\x00-\\x1f\\x7f]{{1,{most}}}'": Meets(
        "a name in a body at /v1/keys", "two scans from one place", by="fullmatch"
    ),
    r"gateway/keys/fields.py: [0-9]{1,7}(\.[0-9]{1,9})?": Meets(
        "an amount in a body at /v1/keys", FIXED, by="fullmatch"
    ),
    r"gateway/models/catalogue.py: ^https?://[^\s/?#@]+(/[^\s?#]*)?$": Meets(
        "a provider's address, from staff", DISTINCT
    ),
    r"gateway/providers/upstream.py: \\\\ | \\u[dD][89abAB][0-9a-fA-F]{2… e26224c6": Meets(
        "an event of a provider", FIXED
    ),
    "gateway/v1/key_views.py: [0-9a-f]{32}": Meets("a part of a path", FIXED, by="fullmatch"),
    "gateway/wire/checks.py: pattern": Meets("what `matching` is given, which is listed", FIXED),
    "gateway/wire/query.py: [0-9]{1,10}": Meets("a number in a query", FIXED, by="fullmatch"),
    r"kyma/api/fields.py: ^-?\d+\.\d{1,9}$": Meets("an amount in a body at /api/", DISTINCT),
    r"kyma/machine/local_provider/fallback.py: \s?\S{1,5}|\s": Meets(
        "a prompt of the demo model", FIXED
    ),
}
EXPRESSIONS = {one.place: one for one in found()}


def test_every_regular_expression_is_listed_with_what_it_meets():
    new = [
        f"{one.place}  (line {one.line})" for one in EXPRESSIONS.values() if one.place not in KNOWN
    ]
    assert not new, (
        "These regular expressions are new or changed. Can a text make one take more time than in "
        "proportion to its length? Then write it another way, or bound the text; if neither works, "
        "gateway/untrusted/ is the place. Then add it to KNOWN above, with the text that it meets "
        "and why it is linear:\n" + "\n".join(new)
    )
    assert KNOWN.keys() - EXPRESSIONS.keys() == set(), "These are gone: take them out of KNOWN."


@pytest.mark.parametrize("place", sorted(KNOWN))
def test_hostile_texts_take_a_listed_expression_little_time(place):
    one, meets = EXPRESSIONS[place], KNOWN[place]
    if one.compiled is not None:  # Others are known only to the running program.
        assert slow_text(one.compiled, by=meets.by, most=meets.most) is None


@pytest.mark.parametrize(
    ("expression", "by"),
    [("(a+)+b", "fullmatch"), (r"\s+$", "search")],
)
def test_an_expression_that_is_not_linear_is_noticed(expression, by):
    assert slow_text(re.compile(expression), by=by, most=10**9)


def slow_text(compiled: re.Pattern, *, by: str, most: int) -> str | bytes | None:
    """A text that takes long. They grow, so that even an exponential one comes to its end."""
    for length in LENGTHS:
        for text in hostile_texts(compiled, min(length, most)):
            begun = time.thread_time()
            if by == "search":
                collections.deque(compiled.finditer(text), maxlen=0)
            else:
                getattr(compiled, by)(text)
            if time.thread_time() - begun > MOST_S:
                return text
    return None


def hostile_texts(compiled: re.Pattern, length: int) -> Iterator[str | bytes]:
    """Fragments of what the expression knows, again and again, after one of its words."""
    expression = compiled.pattern
    written = ascii(expression)
    chosen = random.Random(written)
    words = ["", *re.findall(r"[A-Za-z:/=<>\"@-]{3,}", written)]
    letters = [*sorted(set(written) - {"(", ")", "?", "*"}), "a", "0", " "]
    some = ["".join(chosen.choices(letters, k=chosen.randint(2, 4))) for _ in range(FRAGMENTS)]
    repeated_words = [word + chosen.choice(letters) for word in words]
    for fragment in (*letters, *some, *repeated_words):
        text = (chosen.choice(words) + fragment * length)[: length - 1] + "!"
        yield text if isinstance(expression, str) else text.encode("latin-1", "replace")
