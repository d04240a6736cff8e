"""How the local provider makes text of the bytes of tokens, at every border they can have."""

import pytest

from kyma.machine.local_provider.answer_text import AnswerText


def test_a_character_split_across_tokens_comes_out_whole():
    text = AnswerText(())
    raw = "né 😀".encode()
    pieces = [text.feed(raw[i : i + 1]) for i in range(len(raw))]
    assert "".join(pieces) == "né 😀"
    assert "\ufffd" not in "".join(pieces)


def test_a_character_cut_off_by_the_end_is_dropped():
    text = AnswerText(())
    assert text.feed("a😀".encode()[:-1]) + text.finish() == "a"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_a_stop_text_is_held_back_across_any_border(size):
    raw = b"one aab aaab two"
    text = AnswerText(("aaab", "zzz"))
    shown = ""
    for start_ in range(0, len(raw), size):
        shown += text.feed(raw[start_ : start_ + size])
        if text.stopped:
            break
    assert shown + text.finish() == "one aab "
    assert text.stopped


def test_what_only_looked_like_a_stop_text_is_shown_at_the_end():
    text = AnswerText(("END",))
    assert text.feed(b"the EN") == "the "
    assert text.finish() == "EN"
    assert not text.stopped
