"""Markdown of answers: what a reader sees of it, and what a hostile answer can't do."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import markdown
from chat.growing import Growing
from chat.markdown import MOST_INLINE, render
from tests.support.chat.hostile import EVIL, payloads
from tests.support.chat.safe_html import faults
from tests.support.chat.streaming import Streaming

# --- What a reader sees --------------------------------------------------------------------------


def test_headings_stand_below_those_of_the_page():
    assert render("# One\n\n###### Six") == "<h3>One</h3>\n<h6>Six</h6>\n"


def test_a_new_line_is_a_new_line():
    assert "<br>" in render("Roses are red\nViolets are blue")


def test_a_table_can_be_scrolled_and_its_columns_are_aligned_without_a_style():
    html = render("| a | b |\n|---|--:|\n| 1 | 2 |")
    assert html.startswith('<div class="scroll"')
    assert '<td class="right">2</td>' in html


def test_code_is_highlighted_by_classes_and_has_its_language_and_a_copy_button():
    html = render("```python\nreturn 1\n```")
    assert '<span class="k">return</span>' in html
    assert "<span>python</span>" in html
    assert "data-copy-code" in html
    assert "style" not in html


def test_code_in_an_unknown_language_is_labelled_and_left_alone():
    html = render("```brainfuck\n<b>++</b>\n```")
    assert "<span>brainfuck</span>" in html
    assert "&lt;b&gt;++&lt;/b&gt;" in html


def test_code_is_kept_to_the_letter():
    assert "<code>\n  a\n\n" in render("```\n\n  a\n\n```")


def test_a_link_shows_the_host_that_it_leads_to():
    html = render("[your bank](https://login.evil.example/bank)")
    assert html == (
        '<p><a href="https://login.evil.example/bank" target="_blank"'
        ' rel="noopener nofollow ugc">your bank</a>'
        ' <bdi class="host">(login.evil.example)</bdi></p>\n'
    )


def test_an_address_that_is_its_own_text_needs_no_host_beside_it():
    assert "bdi" not in render("<https://example.org/>")


@pytest.mark.parametrize("text", ["[https://аррӏе.example](https://аррӏе.example)"])
def test_a_host_in_look_alike_letters_is_shown_as_the_browser_resolves_it(text):
    assert '<bdi class="host">(xn--' in render(text)


def test_an_image_is_a_link_that_fetches_nothing():
    html = render(f"![a cat](https://{EVIL}/cat.png)")
    assert "<img" not in html
    assert ">Image: a cat</a>" in html
    assert f"({EVIL})" in html


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "/accounts/logout",
        "//evil.example",
        "https://good.example@evil.example",
        "ftp://x.example",
    ],
)
def test_an_address_that_is_not_plainly_of_the_web_is_no_link(address):
    assert "<a" not in render(f"[a]({address})")


def test_a_link_definition_is_text():
    assert "<a" not in render("[a]\n\n[a]: https://example.org")


def test_an_endless_paragraph_is_left_as_it_is():
    html = render("[" * (MOST_INLINE * 10))
    assert html == f"<p>{'[' * (MOST_INLINE * 10)}</p>\n"


# --- Texts that take long ------------------------------------------------------------------------

# Each repetition doubles the time that Pygments takes for it: days.
FOREVER = "```c\nint f()" + "//\\\n" * 40 + "x\n```\n"


def test_code_that_takes_forever_is_plain_and_other_code_is_not():
    begun = time.thread_time()
    html = render(f"{FOREVER}\n```python\nreturn 1\n```")
    assert time.thread_time() - begun < 0.2
    assert "int f()//\\\n" in html
    assert '<span class="k">return</span>' in html


def test_the_code_of_all_texts_is_one_job(monkeypatch):
    jobs = []

    def highlight(codes):
        jobs.append(list(codes))
        return {}

    monkeypatch.setattr(markdown, "highlight", highlight)
    new, old = markdown.render_all(["```c\na\n```\n```go\nb\n```", "```c\nold\n```"])
    assert jobs == [[("c", "old\n"), ("c", "a\n"), ("go", "b\n")]]
    assert new.index("a\n") < new.index("b\n")
    assert "old" in old


def test_open_code_that_took_too_long_is_not_tried_again_until_it_is_closed(monkeypatch):
    growing = Growing()
    opened = growing.parse("```c\nint")
    assert opened.codes == [("c", "int")]
    growing.update(opened, {})
    assert growing.parse("```c\nint f").codes == []
    assert growing.parse("```c\nint f\n```\n").codes == [("c", "int f\n")]


HARD = {
    "brackets": "[",
    "images": "![](",
    "links": "[a](b",
    "emphasis": "*a_",
    "code spans": "``a`",
    "entities": "&",
    "escapes": "\\*",
    "addresses": "<http://a.b>",
    "lines": "`\n",
    "rows": "|a\n",
    "quotes": "> a\n",
    "nested quotes": ">",
    "items": "- a\n",
    "nested items": "- ",
    "headings": "# \n",
    "tables": "a|b\n-|-\n\n",
    "cells": "|" * 500 + "\n" + "|-" * 500 + "|\n" + "|\n" * 500,
}


SAMPLE = ("images", "lines", "cells")


@pytest.mark.parametrize(
    "name", [*SAMPLE, *(pytest.param(name, marks=pytest.mark.proof) for name in HARD)]
)
@pytest.mark.parametrize("length", [9_000, None])
def test_a_text_has_its_share_of_time_and_then_stays_as_it_was_written(name, length):
    """In one paragraph, and in many that are short enough to be parsed."""
    text = HARD[name] * (300_000 // len(HARD[name]))
    if length:
        text = "\n\n".join(text[at : at + length] for at in range(0, len(text), length))
    begun = time.thread_time()
    html = markdown.parse(text).html({})
    assert time.thread_time() - begun < 4 * markdown.TEXT_S  # Cleaning takes time as well.
    assert html


def test_a_page_has_its_share_of_time_too(monkeypatch):
    monkeypatch.setattr(markdown, "PAGE_S", 0.1)
    first, *_, last = markdown.render_all([HARD["links"] * 1_900] * 25)
    assert not first.startswith('<p class="as-written">')
    assert last.startswith('<p class="as-written">')


# --- While it streams ----------------------------------------------------------------------------


def test_a_finished_block_is_sent_once_and_only_the_open_one_again():
    streaming = Streaming()
    first = streaming.update("One\n\nTwo")
    second = streaming.update("One\n\nTwo\n\nThree *")
    third = streaming.update("One\n\nTwo\n\nThree *times*")
    assert (first.closed, first.open) == ("<p>One</p>\n", "<p>Two</p>\n")
    assert (second.closed, second.open) == ("<p>Two</p>\n", "<p>Three *</p>\n")
    assert (third.closed, third.open) == ("", "<p>Three <em>times</em></p>\n")


def test_code_is_finished_with_its_last_line():
    streaming = Streaming()
    assert streaming.update("```\na\n```").closed == ""
    assert "<code>a" in streaming.update("```\na\n```\n").closed


def test_a_block_is_not_finished_while_the_next_line_may_join_it():
    streaming = Streaming()
    assert streaming.update("1. one\n\n2").closed == ""
    assert streaming.update("1. one\n\n2. two").open.count("<ol>") == 1


def shown_at_the_end(pieces: list[str]) -> str:
    """What stands in the page after `pieces` have come one after the other."""
    streaming, text, closed, still_open = Streaming(), "", "", ""
    for piece in pieces:
        text += piece
        update = streaming.update(text)
        closed += update.closed
        still_open = update.open
    return closed + still_open


MARKDOWN = st.lists(
    st.sampled_from(
        ["a", "b", "\n", "\n\n", "- ", "1. ", "2", ".", "> ", "```", "~~~", "    ", "  ", "# "]
        + ["---", "|", "|-|\n", "*", "**", "[a](https://b.example)", "===", "\t", "\r\n", "\r"]
        + ["<b>", "![", "`"]
    ),
    max_size=30,
)


@given(pieces=MARKDOWN)
def test_what_is_shown_at_the_end_is_the_answer_rendered_whole(pieces):
    assert shown_at_the_end(pieces) == render("".join(pieces))


# --- Hostile answers -----------------------------------------------------------------------------

FAMILIES = payloads()
ALL = [(name, text) for name, texts in FAMILIES.items() for text in texts]


def splits(text: str) -> list[str]:
    """What has come of `text`, wherever it may be cut."""
    return [text[:border] for border in range(1, len(text))]


def check(name: str, text: str, head: str) -> None:
    """Neither the head of `text`, nor all of it after that, shows anything that it may not."""
    streaming = Streaming()
    first = streaming.update(head)
    second = streaming.update(text)
    for html in (first.closed + first.open, first.closed + second.closed + second.open):
        assert faults(html) == [], (name, text, head)
    assert first.closed + second.closed + second.open == render(text), (name, text, head)


def test_there_are_hostile_answers_of_many_kinds():
    assert len(FAMILIES) >= 12
    assert len({text for _, text in ALL}) >= 300


def test_the_check_itself_finds_what_is_forbidden():
    for html in (
        "<script>",
        "<p onclick=x>a</p>",
        '<a href="javascript:x" target="_blank" rel="noopener nofollow ugc">a</a>',
        "<img src=x>",
        "<p>a",
        "<!-- a -->",
        '<p class="notice">a</p>',
    ):
        assert faults(html) != [], html


def test_hostile_answers_come_out_harmless_wherever_they_are_cut():
    seed = random.SystemRandom().getrandbits(32)
    chosen = random.Random(seed)
    print(f"seed of the cuts: {seed}")
    for name, text in ALL:
        for head in chosen.sample(splits(text), min(3, len(text) - 1)):
            check(name, text, head)


@pytest.mark.proof
@pytest.mark.parametrize("name", FAMILIES)
def test_hostile_answers_come_out_harmless_at_every_cut(name):
    for text in FAMILIES[name]:
        for head in splits(text):
            check(name, text, head)
