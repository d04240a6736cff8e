"""The filter and order of the page /models. An invalid field of the query is ignored."""

from collections.abc import Callable
from typing import Any

from django import forms

from gateway.analytics.showcase import Showcase, ShownModel

ORDERS: dict[str, tuple[str, Callable[[ShownModel], Any]]] = {
    "name": ("Name", lambda one: one.model.name.lower()),
    "price": ("Cheapest first", lambda one: one.cheapest.price.output + one.cheapest.price.input),
    "context": ("Longest context first", lambda one: -one.model.context_length),
    "speed": (
        "Fastest first",
        lambda one: -(one.measured.last_30_days.tokens_per_second or 0),
    ),
}


class ModelFilter(forms.Form):
    q = forms.CharField(label="Search", required=False, max_length=100)

    def __init__(self, *arguments, seen: Showcase, **options):
        super().__init__(*arguments, **{"label_suffix": "", **options})
        self._models = seen.models
        capabilities = sorted({name for one in seen.models for name in one.model.capabilities})
        providers = [(one.provider.slug, one.provider.name) for one in seen.providers]
        self.fields["q"].widget.attrs["placeholder"] = "Name or maker"
        self.fields["capability"] = _choice([("", "Any"), *((one, one) for one in capabilities)])
        self.fields["provider"] = _choice([("", "Any"), *providers])
        self.fields["order"] = _choice([(name, label) for name, (label, _) in ORDERS.items()])

    @property
    def is_used(self) -> bool:
        return any(self._asked(name) for name in ("q", "capability", "provider"))

    def found(self) -> list[ShownModel]:
        _, order = ORDERS[self._asked("order") or "name"]
        return sorted(filter(self._fits, self._models), key=order)

    def _asked(self, name: str) -> str:
        self.is_valid()
        return self.cleaned_data.get(name, "")

    def _fits(self, one: ShownModel) -> bool:
        words = self._asked("q").lower().split()
        text = f"{one.model.slug} {one.model.name} {one.model.maker}".lower()
        capability, provider = self._asked("capability"), self._asked("provider")
        return (
            all(word in text for word in words)
            and (not capability or capability in one.model.capabilities)
            and (not provider or provider in {offer.route.provider.slug for offer in one.offers})
        )


def _choice(choices: list[tuple[str, str]]) -> forms.ChoiceField:
    return forms.ChoiceField(choices=choices, required=False)
