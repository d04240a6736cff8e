"""The keyring, in its own database with its own backups, so that destroying a key is final."""

from django.db import models


class DataKey(models.Model):
    """The key under which one person's content is sealed, itself sealed under a master key.

    It has no foreign key to the user, who lies in another database.
    """

    owner = models.UUIDField(primary_key=True, editable=False)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return f"DataKey {str(self.owner)[:8]}"

    @property
    def place(self) -> str:
        return f"keyring.DataKey:{self.owner}"
