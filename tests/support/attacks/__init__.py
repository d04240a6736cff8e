"""Attacks on a web process, one in each module.

`run(address, seconds=…)` attacks over HTTP and returns how often each status was answered; 0 counts
connections that broke. Some attack as a person who is signed in: they take the `session` of
visits.session_of(user), and `prepare(user)` first stores what they need. Those on /v1 take the
attacker's API key as `key`.
"""
