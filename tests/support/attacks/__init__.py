"""Attacks on a web process by somebody who is signed in, one in each module.

`prepare(user)` stores what an attack needs; `run(address, seconds=…, session=…)` then attacks over
HTTP and returns how often each status was answered.
"""
