"""The questions of the demo's account, and the answers to them."""

ASKED = (
    (
        "Explain in one sentence what a hash function is.",
        "A hash function turns data of any length into a short value of fixed length, so that "
        "equal data give equal values and a small change gives a very different one.",
    ),
    (
        "Turn this into SQL: customers from Norway with more than three orders.",
        "```sql\nSELECT c.id, c.name\nFROM customers AS c\n"
        "JOIN orders AS o ON o.customer_id = c.id\n"
        "WHERE c.country = 'NO'\nGROUP BY c.id, c.name\nHAVING COUNT(*) > 3;\n```",
    ),
    (
        "Summarise: the meeting moves to Thursday, ten o'clock, and Ida brings the figures.",
        "The meeting is now on Thursday at ten; Ida brings the figures.",
    ),
    (
        "What is the difference between a process and a thread?",
        "A process has memory of its own. Threads share the memory of their process, which makes "
        "them cheaper to start and to talk to each other, and easier to get wrong.",
    ),
    (
        "Write a Python function that groups a list of words by their first letter.",
        "```python\nfrom collections import defaultdict\n\n\ndef by_first_letter(words):\n"
        "    groups = defaultdict(list)\n    for word in words:\n"
        "        groups[word[0].lower()].append(word)\n    return dict(groups)\n```",
    ),
    (
        "Is 1,729 a special number?",
        "Yes: it is the smallest number that is the sum of two positive cubes in two ways, "
        "1³ + 12³ and 9³ + 10³.",
    ),
    (
        "Give me three names for a small bakery by a river.",
        "- River & Rye\n- The Towpath Oven\n- Ferry Crust",
    ),
    (
        "Classify the sentiment: “It arrived late, but it works beautifully.”",
        "Mixed: dissatisfied with the delivery, very satisfied with the product.",
    ),
    (
        "How do I undo the last commit in Git, but keep my changes?",
        "`git reset --soft HEAD~1` takes the commit back and leaves its changes staged.",
    ),
    (
        "Translate into Spanish: The library is open until eight.",
        "La biblioteca está abierta hasta las ocho.",
    ),
)

FOLLOWED_UP = (
    ("Shorter, please.", "Of course. What matters is the first half; the rest is detail."),
    (
        "Can you give an example?",
        "Yes. Take the case above with only two entries: the result is the same, and you can check "
        "it by hand.",
    ),
    ("Thank you!", "You're welcome. Tell me if something else comes up."),
)
