"""The web processes that hold credit for requests, and the sweeper that closes what dead ones left.

All times in these tables are of the database's clock. Only `gateway/commits/` writes them.
"""

from django.db import models
from django.db.models import Q


class WebProcess(models.Model):
    """The lease of one web process: it lives as long as `beat` keeps growing.

    `seen` is the beat at the last look that counted, `missed` the number of such looks since the
    last growth. A process that was found dead stays so; if it comes back it takes a new id.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    beat = models.BigIntegerField(default=1)
    seen = models.BigIntegerField(default=0)
    missed = models.PositiveSmallIntegerField(default=0)
    looked_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "web processes"
        constraints = [
            models.CheckConstraint(condition=Q(seen__lte=models.F("beat")), name="seen_was_a_beat"),
        ]

    def __str__(self):
        return f"WebProcess {str(self.id)[:13]}"


class SweeperState(models.Model):
    """When the sweeper last ran, and what it saw of the database: one row, none before its first.

    `oldest_transaction_s` is the age of the oldest open transaction. On SQLite it is 0.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    swept_at = models.DateTimeField()
    oldest_transaction_s = models.FloatField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_sweeper_state")]

    def __str__(self):
        return f"SweeperState {self.swept_at:%F %T}"
