"""kxdpgun, which sends through XDP: from a network namespace of its own, over a veth pair."""
