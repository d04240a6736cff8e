"""Attacks on a running Kyma, each a module with `run(address, *, key, seconds)`.

`address` is the base URL of a gateway, `key` an API key of the attacker's. An attack keeps on for
`seconds` and returns how often each status came; 0 counts connections that broke.
"""
