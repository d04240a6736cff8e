"""Attacks on a running web process, each a function `run(address, *, seconds)`.

`address` is host and port. An attack keeps on for as long as it may, whatever the server does to
its connections, and closes all of them at the end.
"""
