"""The errors of accounts and keys.

AccountError
├── InvalidKey          no such key, revoked, disabled or expired
└── SealBroken          a ciphertext doesn't open: wrong key, wrong place, or tampered with
    └── KeyDestroyed    the data key is gone because the account was erased
"""


class AccountError(Exception):
    pass


class InvalidKey(AccountError):
    """`str(error)` explains the problem to the caller without repeating the key."""


class SealBroken(AccountError):
    pass


class KeyDestroyed(SealBroken):
    pass
