from collections.abc import Iterator
from ipaddress import ip_network

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.ids import uuid7
from accounts.keyring import data_keys

RETENTION_CHOICES_DAYS = (0, 7, 30, 90)
_NOTHING = models.Value([], models.JSONField())


def validate_networks(value: list) -> None:
    """Raise ValidationError unless `value` is a list of IP addresses and networks."""
    if not _is_list_of_texts(value):
        raise ValidationError("Not a list of IP addresses and networks.")
    for text in value:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ValidationError(_why_no_network(text)) from error
        if network.version == 6 and network.network_address.ipv4_mapped:
            raise ValidationError(f"Write {text} as the IPv4 address or network that it is.")


def _why_no_network(text: str) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return "This is no IP address and no network."
    return f"The network of this address is written {meant}."


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def validate_scopes(value: list) -> None:
    """Raise ValidationError unless `value` is a list of scopes."""
    if not _is_list_of_texts(value) or not set(value) <= set(ApiKey.Scope.values):
        raise ValidationError(f"Give a list of these scopes: {', '.join(ApiKey.Scope.values)}.")


class UserManager(BaseUserManager["User"]):
    def create_user(
        self,
        email: str,
        password: str | None = None,
        *,
        password_hash: str | None = None,
        **fields,
    ) -> "User":
        """Make a person and their data key.

        Without a password, or its hash, they can't sign in by password.
        """
        user = self.model(email=email.strip().lower(), **fields)
        if password_hash is None:
            user.set_password(password)
        else:
            user.password = password_hash
        data_keys.create(user.id)  # First, because a key without a user is harmless.
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").strip().lower())


class ProviderChoice(models.TextChoices):
    """The providers that a person's requests may go to (P7).

    Each choice includes those before it. A person who hasn't chosen yet has "", which allows no
    more than `NONE`.
    """

    NONE = "none", "only providers that keep nothing"
    ABUSE_30D = "abuse_30d", "also providers that keep up to 30 days, against abuse"
    STORED = "stored", "any provider, also those that keep more or don't say"


class User(AbstractBaseUser, PermissionsMixin):
    """A person with an account: an e-mail address and a password hash, nothing else (P1)."""

    class State(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"
        ERASING = "erasing"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    email = models.EmailField(unique=True)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    provider_choice = models.CharField(
        max_length=10,
        choices=ProviderChoice,
        blank=True,
        default="",
        db_default="",
        help_text="Which providers requests may go to (P7). Empty: not chosen yet, so only those "
        "that keep nothing.",
    )
    session_epoch = models.PositiveIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="A session is valid only in the epoch in which it began. Raising the epoch "
        "ends all sessions of the account.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(email=Lower("email")), name="email_is_lower_case"),
            models.CheckConstraint(
                condition=Q(provider_choice__in=("", *ProviderChoice.values)),
                name="provider_choice_is_a_choice",
            ),
        ]
        permissions = [("suspend_user", "Can suspend and restore user")]

    def __str__(self):
        return f"User {str(self.id)[:13]}"

    def get_session_auth_hash(self) -> str:
        """Return the hash that a session must hold. It covers password and session epoch."""
        return self._of_this_epoch(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        return map(self._of_this_epoch, super().get_session_auth_fallback_hash())

    def _of_this_epoch(self, password_hash: str) -> str:
        return f"{password_hash}.{self.session_epoch}"


class ApiKey(models.Model):
    """A key of one person. The key itself is shown once; only its SHA-256 is kept (P13)."""

    class State(models.TextChoices):
        ACTIVE = "active"
        DISABLED = "disabled"
        EXPIRED = "expired"
        REVOKED = "revoked"

    class Scope(models.TextChoices):
        """The rights of a key at /api/. Asking models at /v1 needs none of them."""

        ACCOUNT = "account", "read the account, its balance and its ledger"
        USAGE = "usage:read", "read usage and the log of requests"
        KEYS = "keys", "make, change and revoke keys"
        CHAT = "chat", "read and change conversations"
        PRIVACY = "privacy", "read and delete what requests said"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    start = models.CharField(max_length=9, editable=False, help_text="How the key starts.")
    end = models.CharField(max_length=4, editable=False, help_text="How the key ends.")
    retention_days = models.PositiveSmallIntegerField(
        default=90, choices=[(days, f"{days} days") for days in RETENTION_CHOICES_DAYS]
    )
    # The database has defaults too: during a rolling upgrade, old processes insert without these.
    allowed_models = models.JSONField(
        default=list,
        db_default=_NOTHING,
        blank=True,
        help_text="Slugs of the models that the key may use; empty: all.",
    )
    allowed_networks = models.JSONField(
        default=list,
        db_default=_NOTHING,
        blank=True,
        validators=[validate_networks],
        help_text='Where the key works, as ["192.0.2.0/24", "2001:db8::1"]; empty: anywhere.',
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="A limit for this key; the account's limit applies as well.",
    )
    is_management = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Manages keys through /v1/keys, and can do nothing else.",
    )
    scopes = models.JSONField(
        default=list,
        db_default=_NOTHING,
        blank=True,
        validators=[validate_scopes],
        help_text="What the key may do at /api/; empty: nothing.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        permissions = [("disable_apikey", "Can disable and revoke API key")]
        constraints = [
            models.CheckConstraint(
                condition=Q(retention_days__in=RETENTION_CHOICES_DAYS),
                name="retention_days_is_a_choice",
            ),
            models.CheckConstraint(
                condition=Q(requests_per_minute=None) | Q(requests_per_minute__gt=0),
                name="a_key_may_ask_something",
            ),
        ]

    def __str__(self):
        return f"ApiKey {str(self.id)[:13]}"

    @property
    def state(self) -> State:
        """The key's state now. It works only while active; revoked and expired are final."""
        if self.revoked_at:
            return self.State.REVOKED
        if self.expires_at and self.expires_at <= timezone.now():
            return self.State.EXPIRED
        return self.State.DISABLED if self.disabled_at else self.State.ACTIVE

    def clean(self):
        if not _is_list_of_texts(self.allowed_models):
            raise ValidationError({"allowed_models": 'Give a list of slugs, as ["llama-3.1-8b"].'})


class Notice(models.Model):
    """A mail about a change to an account that isn't sent yet. Sending it deletes the row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    template = models.CharField(max_length=100)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    claimed_at = models.DateTimeField(null=True)

    def __str__(self):
        return f"Notice {str(self.id)[:13]}"

    @property
    def place(self) -> str:
        return f"accounts.Notice:{self.id}"


class DisposableDomain(models.Model):
    """A domain of throw-away mailboxes. Nobody can sign up with an address in or below it."""

    domain = models.CharField(
        max_length=253,
        unique=True,
        help_text="A domain such as example.com; its subdomains are included.",
    )
    is_refused = models.BooleanField(
        default=True, help_text="Off: addresses in this domain are accepted."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(domain=Lower("domain")), name="domain_is_lower_case"
            ),
        ]

    def __str__(self):
        return self.domain
