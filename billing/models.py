"""Accounts, their ledger and their open holds. All amounts are nano-dollars.

Invariants, each guarded by a constraint, a trigger or `manage.py reconcile`:
the balance is the sum of the entries; the held amount is the sum of the holds; the balance
covers the held amount; the number of open holds is that of the rows; entries and price versions
are never changed and never deleted.
"""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.ids import uuid7
from accounts.models import ApiKey
from billing.pricing import Price
from billing.tiers import TIERS


class PriceVersion(models.Model):
    """An immutable price. A new price is a new row, so a request's cost can be recomputed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    input_nano = models.BigIntegerField("input, per million tokens")
    cached_input_nano = models.BigIntegerField("cached input, per million tokens")
    output_nano = models.BigIntegerField("output, per million tokens")
    request_nano = models.BigIntegerField("each request", default=0)
    image_nano = models.BigIntegerField("each image", default=0)
    source = models.CharField(max_length=200, blank=True)
    source_date = models.DateField(null=True, blank=True)
    verified = models.BooleanField(
        default=False, help_text="A person has compared it with the provider's price list."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    input_nano__gte=0,
                    cached_input_nano__gte=0,
                    output_nano__gte=0,
                    request_nano__gte=0,
                    image_nano__gte=0,
                ),
                name="price_is_not_negative",
            ),
        ]

    def __str__(self):
        return f"PriceVersion {str(self.id)[:13]}"

    @property
    def price(self) -> Price:
        return Price(
            input=self.input_nano,
            cached_input=self.cached_input_nano,
            output=self.output_nano,
            request=self.request_nano,
            image=self.image_nano,
        )


class CreditAccount(models.Model):
    """Prepaid credit. `user` is the only link from money to a person; erasure nulls it."""

    class NoGift(models.TextChoices):
        """The reason why the account got no gift for signing up."""

        NONE = "", "-"
        MAILBOX = "mailbox", "the mailbox had it before"
        NETWORK = "network", "too many in the same network"
        DOMAIN = "domain", "too many at the same mail domain on the same day"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="credit_account"
    )
    balance_nano = models.BigIntegerField(default=0, editable=False)
    held_nano = models.BigIntegerField(default=0, editable=False)
    owed_nano = models.BigIntegerField(default=0, editable=False)
    purchased_nano = models.BigIntegerField(default=0, editable=False)
    # A counter, as counting rows would also walk all those that were deleted while a dump runs.
    open_holds = models.IntegerField(default=0, editable=False)
    tier = models.PositiveSmallIntegerField(
        default=0, choices=[(number, f"T{number}") for number in range(len(TIERS))]
    )
    unlimited = models.BooleanField(
        default=False, help_text="No limits on rate and concurrency. The balance still limits it."
    )
    no_gift = models.CharField(
        max_length=7, choices=NoGift, default=NoGift.NONE, db_default=NoGift.NONE, blank=True
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(balance_nano__gte=0, held_nano__gte=0, owed_nano__gte=0)
                & Q(purchased_nano__gte=0),
                name="amounts_are_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(balance_nano__gte=F("held_nano")), name="balance_covers_what_is_held"
            ),
            models.CheckConstraint(
                condition=Q(open_holds__gte=0), name="open_holds_are_not_negative"
            ),
            models.CheckConstraint(condition=Q(tier__lt=len(TIERS)), name="tier_exists"),
        ]

    def __str__(self):
        return f"CreditAccount {str(self.id)[:13]}"

    @property
    def available_nano(self) -> int:
        return 0 if self.owed_nano else self.balance_nano - self.held_nano


class Hold(models.Model):
    """Credit set aside for a running request. Settling or releasing it deletes the row.

    It has the id of its request. Once its process is dead or its deadline has passed, nobody will
    settle it. `process_id` is null if no web process made it.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    account = models.ForeignKey(CreditAccount, models.PROTECT, related_name="holds")
    # Every request writes this table, so it has no index that only a rare deletion would read.
    key = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="+", db_index=False)
    price_version = models.ForeignKey(
        PriceVersion, models.PROTECT, related_name="+", db_index=False
    )
    amount_nano = models.BigIntegerField()
    process_id = models.UUIDField(null=True)
    created_at = models.DateTimeField()
    deadline = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_nano__gte=0), name="hold_is_not_negative"),
        ]

    def __str__(self):
        return f"Hold {str(self.id)[:13]}"


class LedgerEntry(models.Model):
    """One movement of one account; its kind implies the contra account. Append-only."""

    class Kind(models.TextChoices):
        SIGNUP = "signup"
        PURCHASE = "purchase"
        USAGE = "usage"
        REVERSAL = "reversal"
        REFUND = "refund"
        DISPUTE = "dispute"
        DISPUTE_WON = "dispute-won"
        REFERRAL = "referral"
        ADJUSTMENT = "adjustment"
        RECEIVABLE = "receivable"
        WRITE_OFF = "write-off"
        BREAKAGE = "breakage"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The account has no index of its own: pages of entries are read by the index on account and id.
    account = models.ForeignKey(
        CreditAccount, models.PROTECT, related_name="entries", db_index=False
    )
    kind = models.CharField(max_length=12, choices=Kind)
    amount_nano = models.BigIntegerField()
    request_id = models.UUIDField(null=True, unique=True, editable=False)
    idempotency_key = models.CharField(max_length=80, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["account", "id"], name="entry_ids_of_account"),
            # Covers only the few entries that aren't usage, so requests don't write to this index.
            models.Index(
                fields=["account", "amount_nano"],
                condition=~Q(kind="usage"),
                name="gains_of_account",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(amount_nano=0), name="entry_moves_something"),
            models.CheckConstraint(
                condition=Q(kind="usage", request_id__isnull=False)
                | (~Q(kind="usage") & Q(request_id=None)),
                name="usage_names_its_request",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["reversal", "signup", "purchase", "dispute-won", "referral"])
                | Q(amount_nano__gt=0),
                name="gain_is_positive",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["usage", "refund", "dispute", "write-off", "breakage"])
                | Q(amount_nano__lt=0),
                name="loss_is_negative",
            ),
        ]

    def __str__(self):
        return f"LedgerEntry {str(self.id)[:13]}"


class SignupGrant(models.Model):
    """A mailbox that has had the sign-up gift, stored as a keyed hash only."""

    digest = models.CharField(max_length=64, primary_key=True, editable=False)

    def __str__(self):
        return f"SignupGrant {self.digest[:8]}"


class GiftPlace(models.Model):
    """One of the few gifts for signing up that a network, or a mail domain on a day, can get.

    The network or domain is stored as a keyed hash only. `last_day` is the last on which it counts.
    """

    digest = models.CharField(max_length=64, editable=False)
    number = models.PositiveSmallIntegerField(editable=False)
    last_day = models.DateField(editable=False, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["digest", "number"], name="each_place_is_taken_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="places_count_from_one"),
        ]

    def __str__(self):
        return f"GiftPlace {self.digest[:8]}"


class KeySpend(models.Model):
    """The spend of one key, in total and in the current UTC day, week and month.

    Each sum belongs to the period that starts at the date beside it; the sum of an earlier period
    counts as zero. A null cap means no cap. Rows change only under the lock of the account.
    """

    key = models.OneToOneField(ApiKey, models.PROTECT, primary_key=True, related_name="spend")
    held_nano = models.BigIntegerField(default=0)
    total_nano = models.BigIntegerField(default=0)
    day = models.DateField()
    day_nano = models.BigIntegerField(default=0)
    week = models.DateField()
    week_nano = models.BigIntegerField(default=0)
    month = models.DateField()
    month_nano = models.BigIntegerField(default=0)
    total_cap_nano = models.BigIntegerField(null=True)
    day_cap_nano = models.BigIntegerField(null=True)
    week_cap_nano = models.BigIntegerField(null=True)
    month_cap_nano = models.BigIntegerField(null=True)

    class Meta:
        verbose_name_plural = "key spend"
        constraints = [
            models.CheckConstraint(
                condition=Q(held_nano__gte=0, total_nano__gte=0, day_nano__gte=0)
                & Q(week_nano__gte=0, month_nano__gte=0),
                name="spend_is_not_negative",
            ),
        ]

    def __str__(self):
        return f"KeySpend {str(self.key_id)[:13]}"
