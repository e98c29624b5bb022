"""The stack knows more than its pairs: adjustment of many shifts at once."""

from coregstack.network.adjust import NetworkSolution, adjust, observations
from coregstack.network.loops import Triples, triple_closures

__all__ = ["NetworkSolution", "Triples", "adjust", "observations", "triple_closures"]
