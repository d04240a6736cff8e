"""Histograms of times that can be added up: buckets that are the same always and everywhere.

30 buckets to each power of ten, so a percentile that is read from one is off by 4 % at the most,
before it is rounded to whole milliseconds. Bucket 0 holds all up to a millisecond, bucket n what
is at most 10^(n/30) ms.
"""

import math
from collections import Counter

PER_DECADE = 30
LAST = 7 * PER_DECADE  # 10⁷ ms: longer than any request may take.

Histogram = Counter[int]  # How many times fell into each bucket.


def bucket_of(ms: float) -> int:
    if ms <= 1:
        return 0
    return min(math.ceil(math.log10(ms) * PER_DECADE), LAST)


def percentile_ms(histogram: Histogram, percent: int) -> int | None:
    """The time that `percent` of all took at most: the middle of its bucket. None if empty."""
    rank = -(-histogram.total() * percent // 100)
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return max(1, round(10 ** ((bucket - 0.5) / PER_DECADE)))
    return None


def as_json(histogram: Histogram) -> dict[str, int]:
    return {str(bucket): histogram[bucket] for bucket in sorted(histogram)}


def from_json(stored: dict[str, int]) -> Histogram:
    return Counter({int(bucket): count for bucket, count in stored.items()})
