"""Which passwords are refused wherever one is chosen (ASVS 6.2)."""

import time

import pytest
from django.contrib.auth.password_validation import CommonPasswordValidator, validate_password
from django.core.exceptions import ValidationError

from accounts.models import User
from kyma import settings as kyma_settings
from tests.support.account_pages import (
    enter_code,
    is_signed_in,
    just_signed_in,
    sign_in,
    sign_up,
    text_of,
)

GOOD = "correct horse battery"
COMMON = "Dragon2026!!"


def refused(password: str, address: str = "dora.smith@example.org") -> bool:
    try:
        validate_password(password, User(email=address))
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    "password",
    [
        *("ninechars", "password123", "1234567890", "qwertyuiop", "1q2w3e4r5t"),
        *("Dragon2026!!", "...monkey...", "2026-football", "P@ssw0rd2026", "12345iloveyou"),
        *("dragondragon", "Dragon1Dragon1", "dragondragon99", "abcabcabcabc", "aaaaaaaaaaaaaaaa"),
        *("kyma2026!!", "KymaKymaKyma", "kymaapi.com", "kymaapi.com1"),
        *("dora.smith@example.org", "Dora.Smith1", "dora.smith99", "!dora.smith@example.org!"),
    ],
)
def test_what_is_guessed_first_is_refused(password):
    assert refused(password)


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        *("dragon eats monkey", "mydragon-2026", "tulip4sundown", "sH7!kq02Lm", "9274610385"),
        *("x" + "7#9!" * 3, "пароль для дома", "ça va très bien", "🐉" * 3 + "seven+more"),
        *("a" * 5 + "bcdef ghi " * 30, "doras secret", "kyma is a greek wave"),
    ],
)
def test_nothing_else_is_asked_of_a_password(password):
    assert not refused(password)


def test_every_common_password_is_refused_with_whatever_makes_it_long_enough():
    common = [one for one in CommonPasswordValidator().passwords if one.isalpha() and len(one) > 3]
    assert len(common) > 3000
    passed = [one for one in common if not refused(f"{one.title()}-2026!")]
    assert passed == []


def test_ten_characters_are_enough_and_very_many_are_not_too_many_nor_slow():
    names = [one["NAME"].rpartition(".")[2] for one in kyma_settings.AUTH_PASSWORD_VALIDATORS]
    assert names == ["MinimumLengthValidator", "CommonPasswordValidator", "CommonCoreValidator"]
    assert not refused("tulip4sund")
    assert refused("tulip4sun")
    began_at = time.process_time()
    for text in ("ab" * 500_000 + "c", "1" * 1_000_000 + "a", "a1" * 500_000):
        refused(text)
    assert time.process_time() - began_at < 5


def test_a_password_counts_whole_with_its_blanks_and_its_hundredth_character(books, client):
    password = " " + "tulips and sundowns " * 6
    sign_up(client, "new@example.org", password)
    enter_code(client)
    user = User.objects.get()
    assert user.check_password(password)
    for other in (password.strip(), password[:-1], password[:100], password.upper()):
        assert not user.check_password(other)
    client.post("/accounts/logout/")
    sign_in(client, "new@example.org", password)
    assert is_signed_in(client)


def test_pages_refuse_it_and_say_why(books, client):
    assert "too common" in text_of(sign_up(client, "new@example.org", COMMON))
    assert "too common" in text_of(sign_up(client, "someone.new@example.org", "someone.new1"))
    assert not User.objects.exists()
    user = User.objects.create_user("dora@example.org", GOOD)
    fields = {"oldpassword": GOOD, "password1": COMMON, "password2": COMMON}
    page = text_of(just_signed_in(user).post("/accounts/password/change/", fields))
    assert "too common" in page
    user.refresh_from_db()
    assert user.check_password(GOOD)
