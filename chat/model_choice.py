"""The models that a person may chat with, with their prices and providers."""

import dataclasses
from collections.abc import Sequence

from accounts.models import User
from chat.errors import NoConsent
from chat.models import Conversation
from gateway.access.consent import Standing
from gateway.catalogue import aliases
from gateway.catalogue.entries import ModelEntry, PublicRoute, offered, public_catalogue

DEFAULT_ALIAS = "best"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A model in the picker, with the lowest prices, in nano-dollars per million tokens."""

    slug: str
    name: str
    maker: str
    context_length: int
    input_nano: int
    output_nano: int
    has_vision: bool
    providers: tuple[PublicRoute, ...]

    @property
    def context(self) -> str:
        return f"{self.context_length:,}"


def choices(user: User) -> list[Choice]:
    """Return the models by name that have a provider within the privacy settings (P7)."""
    entries = offered(user.provider_choice).values()
    shown = [_choice(entry) for entry in entries if entry.writes]
    return sorted(shown, key=lambda choice: choice.name.lower())


def withheld(user: User) -> int:
    """Return how many models have no provider within the privacy settings, but one beyond them."""
    entries = public_catalogue().values()
    return sum(1 for one in entries if one.writes and not one.admitted(user.provider_choice))


def check_consent(model: str, user: User) -> None:
    """Raise NoConsent if only providers beyond the privacy settings serve this model."""
    entry = public_catalogue().get(model)
    if entry and not entry.admitted(user.provider_choice):
        needs = (one.needed_choice for one in entry.candidates)
        hint = Standing.of(user.provider_choice, needs).hint
        raise NoConsent(f"Your privacy settings allow no provider of {entry.name}. {hint}")


def _choice(entry: ModelEntry[PublicRoute]) -> Choice:
    cheapest = entry.candidates[0]
    return Choice(
        slug=entry.slug,
        name=entry.name,
        maker=entry.maker,
        context_length=cheapest.context_length,
        input_nano=cheapest.price.input,
        output_nano=cheapest.price.output,
        has_vision="vision" in entry.capabilities,
        providers=entry.candidates,
    )


def default(user: User, among: Sequence[Choice]) -> str:
    """Return the model used last, or else the default one; empty without any model."""
    slugs = [choice.slug for choice in among]
    last = Conversation.objects.of(user).order_by("-updated_at")
    used = last.values_list("model", flat=True).first()
    if used in slugs:
        return used
    return aliases.model_of(DEFAULT_ALIAS, slugs.__contains__) or next(iter(slugs), "")


def preferring(slug: str, user: User, among: Sequence[Choice]) -> Choice | None:
    """Return the model `slug` if it is usable, or else the default; None without any model."""
    return named(slug, among) or named(default(user, among), among)


def named(slug: str, among: Sequence[Choice]) -> Choice | None:
    return next((choice for choice in among if choice.slug == slug), None)
