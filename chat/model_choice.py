"""The models that a person may chat with: what each costs, and who would answer."""

import dataclasses
from collections.abc import Sequence

from accounts.models import User
from chat.models import Conversation
from gateway.catalogue import aliases
from gateway.routing import resolution
from gateway.routing.resolution import ModelEntry, PublicRoute

DEFAULT_ALIAS = "best"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A model as the picker shows it; prices in nano-dollars per million tokens, the cheapest."""

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
    """Those with a provider that the person's privacy settings admit (P7), by name."""
    entries = resolution.offered(allows_unstated=user.allows_unstated_retention).values()
    shown = [_choice(entry) for entry in entries if entry.writes]
    return sorted(shown, key=lambda choice: choice.name.lower())


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
    """What the person used last, else what is best; empty if there is nothing to choose from."""
    slugs = [choice.slug for choice in among]
    last = Conversation.objects.of(user).order_by("-updated_at")
    used = last.values_list("model", flat=True).first()
    if used in slugs:
        return used
    return aliases.model_of(DEFAULT_ALIAS, slugs.__contains__) or next(iter(slugs), "")


def preferring(slug: str, user: User, among: Sequence[Choice]) -> Choice | None:
    """The model `slug` while it can be used, else the default; None if there is no model."""
    return named(slug, among) or named(default(user, among), among)


def named(slug: str, among: Sequence[Choice]) -> Choice | None:
    return next((choice for choice in among if choice.slug == slug), None)
