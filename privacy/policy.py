"""The version of the privacy policy that is in force. Its text: templates/privacy/policy.html."""

import datetime as dt

VERSION = 1
LAST_UPDATED = dt.date(2026, 4, 5)
LAST_REVIEW: dt.date | None = None  # The last recorded review of security practices (P15).
