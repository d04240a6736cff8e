"""The pages on which a password is hashed: allauth's, with an answer for when Kyma is too busy.

The answer is the same page with status 503, what was typed (but for passwords), and a sentence that
says to try again. A page of others, such as the admin's, gets a page of its own.

A browser in which a person has just proved that they know the password is known to them from then
on, even though a new password made all their browsers unknown (accounts/known_browsers.py).
"""

from allauth.account import views
from allauth.core.ratelimit import consume_or_429
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.generic.edit import FormView

from accounts import hashing, known_browsers
from accounts.errors import PasswordsBusy
from accounts.models import User


class AnswersWhenBusy(FormView):
    """A form's view that keeps what was typed when no turn to hash came in time."""

    def post(self, request: HttpRequest, *arguments, **named) -> HttpResponse:
        try:
            return super().post(request, *arguments, **named)
        except PasswordsBusy as busy:
            messages.error(request, str(busy))
            context = self.get_context_data(form=self._unchecked_form())
            return _busy(self.render_to_response(context))

    def _unchecked_form(self) -> forms.Form:
        options = self.get_form_kwargs()
        typed = options.pop("data")
        options.pop("files", None)
        form = self.get_form_class()(**options)
        for name, field in form.fields.items():
            if name in typed and not isinstance(field.widget, forms.PasswordInput):
                form.initial[name] = typed[name]
        return form


class BusyMiddleware:
    """Answers for all other pages."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, PasswordsBusy):
            return None
        return _busy(render(request, "account/busy.html", {"reason": str(error)}))


def _busy(response: HttpResponse) -> HttpResponse:
    response.status_code = 503
    response["Retry-After"] = str(hashing.RETRY_AFTER_S)
    return response


class LogIn(AnswersWhenBusy, views.LoginView):
    def post(self, request: HttpRequest, *arguments, **named) -> HttpResponse:
        """Ask the limit on the network address, except in a browser that the person has used."""
        if known_browsers.bucket(request, request.POST.get("login", "")) is None:
            refusal = consume_or_429(request, action="login_in_unknown_browser")
            if refusal:
                return refusal
        return super().post(request, *arguments, **named)


class SignUp(AnswersWhenBusy, views.SignupView):
    pass


class Reauthenticate(AnswersWhenBusy, views.ReauthenticateView):
    pass


class ChangePassword(AnswersWhenBusy, views.PasswordChangeView):
    def form_valid(self, form) -> HttpResponse:
        return _known_from_now(self.request, super().form_valid(form), form.user)


class SetPassword(AnswersWhenBusy, views.PasswordSetView):
    def form_valid(self, form) -> HttpResponse:
        return _known_from_now(self.request, super().form_valid(form), form.user)


class ResetPassword(AnswersWhenBusy, views.PasswordResetFromKeyView):
    def form_valid(self, form) -> HttpResponse:
        return _known_from_now(self.request, super().form_valid(form), self.reset_user)


def _known_from_now(request: HttpRequest, response: HttpResponse, user: User) -> HttpResponse:
    cookie = known_browsers.cookie_of(request)
    known_browsers.set_cookie(response, known_browsers.remember(cookie, user))
    return response
