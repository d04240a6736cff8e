from django.db import models

from accounts.ids import uuid7


class OperatorMail(models.Model):
    """A mail to the operator about one subject on one day (UTC). A day has at most one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subject = models.CharField(max_length=40)
    day = models.DateField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject", "day"], name="one_operator_mail_a_day"),
        ]

    def __str__(self):
        return f"OperatorMail {self.subject} of {self.day}"
