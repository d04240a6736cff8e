import datetime as dt
from typing import cast

from django import forms
from django.forms.boundfield import BoundWidget

from accounts.models import ProviderChoice
from gateway.models import Provider
from privacy import provider_policy


class ChoiceForm(forms.Form):
    """The question which providers may answer. The strictest answer is preselected."""

    offered: tuple[ProviderChoice, ...] = tuple(ProviderChoice)

    choice = forms.ChoiceField(
        widget=forms.RadioSelect, label="Which providers may answer your requests?"
    )

    def __init__(self, *arguments, today: dt.date, **options):
        super().__init__(*arguments, **options)
        question = cast(forms.ChoiceField, self.fields["choice"])
        question.choices = [(one.value, one.label) for one in self.offered]
        self._providers = provider_policy.providers_by_choice(today)

    @property
    def options(self) -> list[tuple[BoundWidget, str, list[Provider]]]:
        """Return each answer: its button, its value, and the providers in use that it adds."""
        return [
            (button, button.data["value"], self._providers.get(button.data["value"], []))
            for button in self["choice"]
        ]


class FirstChoiceForm(ChoiceForm):
    """The question at the first sign-in; the widest answer is given on the privacy page alone."""

    offered = (ProviderChoice.NONE, ProviderChoice.ABUSE_30D)
