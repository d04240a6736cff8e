"""Argon2id with 64 MiB, four passes and one lane.

RFC 9106 asks for three passes over 64 MiB where memory is short. One lane, because a machine
with two cores serves others meanwhile; four passes, because a sign-in may cost up to 300 ms.
"""

from django.contrib.auth.hashers import Argon2PasswordHasher


class KymaArgon2PasswordHasher(Argon2PasswordHasher):
    time_cost = 4  # passes
    memory_cost = 64 * 1024  # KiB
    parallelism = 1  # lanes
