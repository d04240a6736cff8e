from accounts.passwords import KymaArgon2PasswordHasher


class CheapArgon2PasswordHasher(KymaArgon2PasswordHasher):
    """As ours, in a millisecond: most tests are about something else."""

    time_cost = 1
    memory_cost = 64
