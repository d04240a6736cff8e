"""The reader of providers.toml and catalog.toml: it makes checked rows that aren't saved yet.

The rows' own models check them, so every row that can be read here fits the database.
"""

import dataclasses
import re
import tomllib
from pathlib import Path

from django.core.exceptions import ValidationError

from billing.models import PriceVersion
from billing.pricing import nano
from gateway.models import Model, Provider, Route

DIRECTORY = Path(__file__).resolve().parent
CAPABILITIES = {"tools", "json", "vision", "reasoning", "code", "embedding"}
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")

# The fields of each row that the files set. `enabled` is missing: only the operator sets it.
PROVIDER_FIELDS = (
    "name",
    "privacy_policy_url",
    "retention",
    "retention_evidence_url",
    "retention_evidence_date",
    "stops_billing_on_cancel",
    "wants_max_completion_tokens",
    "unsupported",
)
# A provider's statement about the data that it is sent, with its evidence.
STATEMENT_FIELDS = ("retention", "retention_evidence_url", "retention_evidence_date")
MODEL_FIELDS = (
    "name",
    "maker",
    "license",
    "description",
    "hugging_face_id",
    "released",
    "context_length",
    "max_output_tokens",
    "capabilities",
)
ROUTE_FIELDS = ("upstream_model", "context_length", "quantization")
AMOUNT_FIELDS = ("input", "cached_input", "output", "request", "image")
PROVENANCE_FIELDS = ("source", "source_date", "verified")
PRICE_FIELDS = tuple(f"{name}_nano" for name in AMOUNT_FIELDS) + PROVENANCE_FIELDS
_PRICE_NAMES = AMOUNT_FIELDS + PROVENANCE_FIELDS


class CatalogError(Exception):
    """The catalogue can't be loaded. The message lists every fault."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """A provider in providers.toml. `env` is the environment variable that switches it on."""

    provider: Provider
    env: str

    @property
    def slug(self) -> str:
        return self.provider.slug

    @property
    def takes_key(self) -> bool:
        """True when the variable holds an API key, False when it holds the base URL."""
        return self.env.endswith("_API_KEY")

    @property
    def lists_its_models(self) -> bool:
        """True when Kyma asks the server itself for its models."""
        return self.env.endswith("_BASE_URL")


@dataclasses.dataclass(frozen=True)
class Offer:
    """One way to a model. Saving sets the foreign keys of `route` from the model, from `provider`
    (a slug) and from `price`.
    """

    provider: str
    route: Route
    price: PriceVersion


@dataclasses.dataclass(frozen=True)
class Listing:
    model: Model
    offers: tuple[Offer, ...]


@dataclasses.dataclass(frozen=True)
class Catalogue:
    presets: tuple[Preset, ...]
    listings: tuple[Listing, ...]


def read(directory: Path = DIRECTORY) -> Catalogue:
    """Return the contents of the two files in `directory`. Raises CatalogError."""
    reader = _Reader()
    providers = _parse(directory / "providers.toml")
    presets = tuple(reader.preset(slug, table) for slug, table in providers.items())
    models = _parse(directory / "catalog.toml").get("model", [])
    listings = tuple(reader.listing(table, set(providers)) for table in models)
    reader.refuse_repeated("model", [listing.model.slug for listing in listings])
    if reader.faults:
        raise CatalogError("\n".join(reader.faults))
    return Catalogue(presets, listings)


def _parse(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:  # TOMLDecodeError is a ValueError
        raise CatalogError(f"{path.name}: {error}") from error


class _Reader:
    """Turns TOML tables into rows and collects their faults."""

    def __init__(self):
        self.faults: list[str] = []

    def preset(self, slug: str, table: dict) -> Preset:
        where = f"provider {slug}"
        env = table.pop("env", "")
        base_url = table.get("base_url", "")
        self._check(SLUG.fullmatch(slug), where, f"the slug doesn't match {SLUG.pattern}")
        self._check(env.endswith(("_API_KEY", "_URL")), where, "env: it must be *_API_KEY or *_URL")
        self._check(
            env.endswith("_API_KEY") == bool(base_url),
            where,
            "base_url must be given if env is *_API_KEY, and only then",
        )
        self._check(
            not base_url or base_url.startswith("https://"),
            where,
            "base_url: a hosted provider needs an https address",
        )
        fields = ("slug", "base_url", *PROVIDER_FIELDS)
        unchecked = () if base_url else ("base_url",)
        row = self._row(Provider, {"slug": slug, **table}, where, fields, unchecked)
        row.self_hosted = not base_url
        row.enabled = False
        self._check(
            row.self_hosted
            or row.retention == Provider.Retention.UNKNOWN
            or (row.retention_evidence_url and row.retention_evidence_date),
            where,
            "retention: no evidence of it is given",
        )
        return Preset(row, env)

    def listing(self, table: dict, providers: set[str]) -> Listing:
        where = f"model {table.get('slug', '')}"
        routes = table.pop("route", [])
        row = self._row(Model, table, where, ("slug", *MODEL_FIELDS))
        self._check(SLUG.fullmatch(row.slug), where, f"the slug doesn't match {SLUG.pattern}")
        self._check(set(row.capabilities) <= CAPABILITIES, where, "capabilities: one is unknown")
        self._check(routes, where, "it has no route")
        offers = tuple(self._offer(route, where) for route in routes)
        names = [offer.provider for offer in offers]
        for name in sorted(set(names) - providers):
            self.faults.append(f"{where}: provider {name!r} isn't in providers.toml")
        self.refuse_repeated(f"{where}: route through", names)
        return Listing(row, offers)

    def refuse_repeated(self, what: str, slugs: list[str]) -> None:
        for slug in sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            self.faults.append(f"{what} {slug}: it is listed twice")

    def _offer(self, table: dict, where: str) -> Offer:
        provider = table.pop("provider", "")
        where = f"{where} through {provider}"
        price = self._price(table, where)
        rest = {name: value for name, value in table.items() if name not in _PRICE_NAMES}
        unchecked = ("model", "provider", "price_version")
        route = self._row(Route, rest, where, ROUTE_FIELDS, unchecked)
        return Offer(provider, route, price)

    def _price(self, table: dict, where: str) -> PriceVersion:
        """Return the price. Without `cached_input`, it is a tenth of `input`, rounded up."""
        amounts = {name: self._nano(table, name, where) for name in AMOUNT_FIELDS}
        if "cached_input" not in table:
            amounts["cached_input"] = -(-amounts["input"] // 10)
        for name in ("input", "output", "source", "source_date"):
            self._check(name in table, where, f"{name}: it is missing")
        values = {f"{name}_nano": amount for name, amount in amounts.items()}
        values |= {name: table[name] for name in PROVENANCE_FIELDS if name in table}
        return self._row(PriceVersion, values, where, PRICE_FIELDS)

    def _nano(self, table: dict, name: str, where: str) -> int:
        try:
            return nano(table.get(name, "0"))
        except (ValueError, AttributeError):  # A TOML float is refused: it may have lost digits.
            self.faults.append(f'{where}: {name}: not a string with a decimal number, like "0.10"')
            return 0

    def _row(self, kind, table: dict, where: str, fields: tuple, unchecked: tuple = ()):
        """Return an unsaved row of `kind` that its own model has checked."""
        for name in sorted(table.keys() - set(fields)):
            self.faults.append(f"{where}: {name}: unknown field")
        row = kind(**{name: table[name] for name in fields if name in table})
        try:
            row.clean_fields(exclude=unchecked)
        except ValidationError as error:
            self.faults += [
                f"{where}: {name}: {' '.join(messages)}"
                for name, messages in error.message_dict.items()
            ]
        return row

    def _check(self, holds, where: str, fault: str) -> None:
        if not holds:
            self.faults.append(f"{where}: {fault}")
