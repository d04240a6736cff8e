"""allauth's forms, with the checks that Kyma adds."""

from allauth.account import forms as allauth_forms
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.addresses import is_disposable
from accounts.models import User

DISPOSABLE = "Addresses of this mail service aren't accepted. Please use one that you will keep."


def refuse_disposable(address: str) -> str:
    """Return the address. Raises ValidationError when its domain is on the operator's list."""
    if is_disposable(address):
        raise ValidationError(DISPOSABLE, code="disposable")
    return address


class SignupForm(allauth_forms.SignupForm):
    account_already_exists: bool
    password_hash: str

    def clean_email(self) -> str:
        refuse_disposable(self.cleaned_data["email"])
        return super().clean_email()

    def try_save(self, request):
        """Take as long for a known address as for a new one, so that time reveals nothing.

        The password is hashed before the transaction, which may keep out all who write.
        """
        hashed = User()
        hashed.set_password(self.cleaned_data["password1"])
        self.password_hash = hashed.password
        if self.account_already_exists:
            return super().try_save(request)
        try:
            with transaction.atomic():
                user = self.save(request)
        except IntegrityError:  # Another request has just made this account.
            self.account_already_exists = True
            return super().try_save(request)
        return user, None


class AddEmailForm(allauth_forms.AddEmailForm):
    def clean_email(self) -> str:
        refuse_disposable(self.cleaned_data["email"])
        return super().clean_email()


class ChangeEmailForm(allauth_forms.ChangeEmailForm):
    def clean_email(self) -> str:
        refuse_disposable(self.cleaned_data["email"])
        return super().clean_email()


class AddPasskeyForm(AddWebAuthnForm):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        passwordless = self.fields["passwordless"]
        passwordless.label = "Let it sign me in alone, without the password"
        passwordless.help_text = "It will ask for a PIN, a fingerprint or a face."
        passwordless.initial = True
