"""What may be tried: parameters, their grammar, what ties them together, and the points of the unit cube."""

from hpo.space.parameters import Choice, Constant, Derived
from hpo.space.ranges import Float, Integer
from hpo.space.space import SearchSpace, parse_space

__all__ = ["Choice", "Constant", "Derived", "Float", "Integer", "SearchSpace", "parse_space"]
