"""The differences from peers that stand in docs/differences.md, recognised."""

CHAIN_MAX = 16


def long_chain(question, mine, peers):
    """A chain that each server gives up at a length of its own."""
    made = sum(r[1] == "CNAME" for r in mine.answer)
    return made >= CHAIN_MAX and any(p.answer != mine.answer for p in peers)


REASONS = {
    "long-chain": long_chain,
}


def reason(question, mine, peers):
    """The word of the difference, or None."""
    for word, holds in REASONS.items():
        if holds(question, mine, peers):
            return word
    return None
