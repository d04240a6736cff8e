"""Histograms of times that can be added up, since all of them have the same buckets.

There are 30 buckets to each power of ten, so a percentile is off by at most 4 %, before it is
rounded to whole milliseconds. Bucket 0 holds all times up to a millisecond. Bucket n holds the
times above bucket n-1 and up to 10^(n/30) ms.
"""

import math
from collections import Counter

PER_DECADE = 30
LAST = 7 * PER_DECADE  # 10⁷ ms: longer than any request may take.

Histogram = Counter[int]  # The number of times in each bucket.


def bucket_of(ms: float) -> int:
    if ms <= 1:
        return 0
    return min(math.ceil(math.log10(ms) * PER_DECADE), LAST)


def percentile_ms(histogram: Histogram, percent: int) -> int | None:
    """Return the percentile, as the middle of its bucket; None if the histogram is empty."""
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
