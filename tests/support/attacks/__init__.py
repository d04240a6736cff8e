"""Attacks on a running web process, one in each module.

`run(address, *, seconds)` attacks a host and port for as long as it may, whatever the server does
to its connections, and closes all of them at the end. Attacks by somebody who is signed in have
`prepare(user)`, which stores what they need, take a `session`, and return how often each status was
answered.
"""
