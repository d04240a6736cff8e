"""What can go wrong with accounts and keys.

AccountError
├── InvalidKey          no such key, revoked, disabled or expired
└── SealBroken          a ciphertext that doesn't open: wrong key, wrong place or tampered with
    └── KeyDestroyed    the account's data key is gone: it was erased
"""


class AccountError(Exception):
    pass


class InvalidKey(AccountError):
    """`str(error)` tells the caller what is wrong, without repeating the key."""


class SealBroken(AccountError):
    pass


class KeyDestroyed(SealBroken):
    pass
