"""Long hostile texts in each language: highlighted within a second, or plain."""

import random
import time

import pytest

from gateway.untrusted import helper as helpers
from gateway.untrusted.helper import Helper, answered
from gateway.untrusted.languages import HIGHLIGHTED

LENGTH = 100_000  # bytes
MOST_S = 1.0
# Texts that some lexer took seconds, minutes or days for.
BAD = (
    "int f()" + "//\\\n" * 40 + "x",
    " \n",
    '\\"',
    "/*",
    "<!--",
    "f(",
    "[[",
    "a.",
    "'''",
    '"""',
    "${",
    "<<EOF\n",
    "@" * 50 + "\n",
    "+a\n-b\n",
    "- - ",
    "\\\n",
)
ALPHABET = "aA0_ \t\n\\/'\"`<>(){}[]#$%&*+-=.,:;!?@|~^"


def texts(chosen: random.Random, count: int) -> list[str]:
    fragments = ["".join(chosen.choices(ALPHABET, k=chosen.randint(1, 6))) for _ in range(count)]
    return [(one * LENGTH)[:LENGTH] for one in fragments]


def check(languages: list[str], chosen: random.Random, bad: list[str], count: int) -> None:
    helper = Helper()
    try:
        answered(helper.ask("highlight", []))
        plain = 0
        for language in languages:
            for text in [(one * LENGTH)[:LENGTH] for one in bad] + texts(chosen, count):
                begun = time.monotonic()
                results = answered(helper.ask("highlight", [[language, text]]))
                took_s = time.monotonic() - begun
                assert took_s < MOST_S or results.get(0) is None, (language, text[:20])
                assert took_s < MOST_S + 1, (language, text[:20])
                plain += results.get(0) is None
        print(f"{plain} texts stayed plain")
    finally:
        helper.close()


@pytest.fixture
def chosen(settings, monkeypatch) -> random.Random:
    settings.UNTRUSTED_WAIT_S = MOST_S
    monkeypatch.setattr(helpers, "CPU_S", 0.1)  # Or most of the test would be waiting for these.
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed of the texts: {seed}")
    return random.Random(seed)


def test_a_sample_of_hostile_code_is_done_in_time_or_stays_plain(chosen):
    languages = chosen.sample(sorted(HIGHLIGHTED), 6)
    check([*languages, "c"], chosen, [BAD[0], chosen.choice(BAD)], 1)


@pytest.mark.proof
def test_all_hostile_code_is_done_in_time_or_stays_plain(chosen):
    aliases = {"c++", "golang", "docker", "javascript", "makefile", "py", "rb", "rs", "sh", "ts"}
    aliases |= {"yml", "shell"}
    check(sorted(HIGHLIGHTED - aliases), chosen, list(BAD), 2)
