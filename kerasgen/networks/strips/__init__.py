"""Large pictures through a functional network, strip by strip, exactly, in bounded memory.

Most layers need few rows around each row that they make: strips of rows with a margin stream through and give the
same numbers. Some need the whole map, as an instance norm its mean and variance: a first pass gathers those, a second
uses them. `graph.py` takes a network apart, `rules.py` knows how far each layer reaches, `plan.py` decides which maps
are kept and which are computed again, `execute.py` does it.
"""

from kerasgen.networks.strips.execute import Sink, execute
from kerasgen.networks.strips.graph import make_graph
from kerasgen.networks.strips.plan import Plan, make_plan, memory_at_once, tensors_at_once
from kerasgen.networks.strips.rules import NoPlan, UnknownLayer
from kerasgen.networks.strips.stores import InMemory, OnDisk, Rows

__all__ = [
    "InMemory",
    "NoPlan",
    "OnDisk",
    "Plan",
    "Rows",
    "Sink",
    "UnknownLayer",
    "execute",
    "make_graph",
    "make_plan",
    "memory_at_once",
    "tensors_at_once",
]
