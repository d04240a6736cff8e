"""Argon2id with 64 MiB, four passes and one lane.

RFC 9106 asks for three passes over 64 MiB where memory is short. One lane, because a machine
with two cores serves others meanwhile; four passes, because a sign-in may cost up to 300 ms.
"""

from django.contrib.auth.hashers import Argon2PasswordHasher

from accounts import hashing


class KymaArgon2PasswordHasher(Argon2PasswordHasher):
    time_cost = 4  # passes
    memory_cost = 64 * 1024  # KiB
    parallelism = 1  # lanes

    def encode(self, password: str, salt: str) -> str:
        """Return the hash. Raises PasswordsBusy."""
        with hashing.turns.take():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """True when `encoded` is a hash of `password`. Raises PasswordsBusy."""
        with hashing.turns.take():
            return super().verify(password, encoded)
