"""The network of pairs: which pairs to match, and the shifts that follow from all of them together."""

from coregstack.network.adjust import NetworkSolution, adjust, observations
from coregstack.network.anchors import ANCHOR_WEIGHTS, AnchorScore, rank_anchors
from coregstack.network.loops import Triples, triple_closures
from coregstack.network.pairs import choose_pairs

__all__ = [
    "ANCHOR_WEIGHTS",
    "AnchorScore",
    "NetworkSolution",
    "Triples",
    "adjust",
    "choose_pairs",
    "observations",
    "rank_anchors",
    "triple_closures",
]
