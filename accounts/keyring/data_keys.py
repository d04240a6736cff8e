"""Data keys, one per person. Destroying one makes their content unreadable, also in backups."""

import uuid

from accounts.encryption import Cipher, new_key, open_under_master_key, seal_under_master_key
from accounts.errors import KeyDestroyed
from accounts.keyring.models import DataKey


def create(owner: uuid.UUID) -> None:
    """Give `owner` a data key, unless they have one."""
    row = DataKey(owner=owner)
    row.sealed = seal_under_master_key(new_key(), row.place)
    DataKey.objects.bulk_create([row], ignore_conflicts=True)


def cipher_of(owner: uuid.UUID) -> Cipher:
    """Return the cipher for the content of `owner`. Raises KeyDestroyed, SealBroken."""
    row = DataKey.objects.filter(owner=owner).first()
    if row is None:
        raise KeyDestroyed(f"no data key for {str(owner)[:8]}")
    return Cipher(open_under_master_key(row.sealed, row.place))


def destroy(owner: uuid.UUID) -> None:
    """Destroy the key of `owner`. There is no way back."""
    DataKey.objects.filter(owner=owner).delete()
