"""Expressions over the parameters of a configuration: parsed with `ast`, nothing is ever executed as Python.

There are numbers, quoted strings, `true` and `false`, names of parameters (dotted ones too), `+ - * / // %`,
`**`, comparisons (also `1 <= a < b` and `a in (1, 2)`), `and`, `or`, `not`, and calls of `min`, `max`,
`round`, `int`, `abs`, `log2` and `sqrt`. Where a real number takes part, a comparison takes numbers as equal
that only differ in what decimal text takes away. Standard library only.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.errors import InputError
from hpo.records import ParamValue
from hpo.space.arithmetic import FUNCTIONS, OPERATIONS, ORDERINGS, WrongType, equal, number, truth

Values = Mapping[str, ParamValue]
_Run = Callable[[Values], Any]  # raises KeyError where a name has no value

FORMS = (
    "numbers, 'quoted strings', names of parameters, + - * / // % **, comparisons, in, and, or, not, "
    "min, max, round, int, abs, log2, sqrt"
)
_LONGEST = 1000  # characters
_DEEPEST = 60  # operations inside each other; Python's own stack ends at a thousand calls
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Expression:
    """A text, compiled once.

    Args:
        text: the expression.
        key: where it stands, for messages: `space.constraints[0]`.

    Attributes:
        names: of the parameters in it.
        partial: whether there may be numbers for which it cannot be computed.

    Raises:
        InputError: a text that is no expression, or one too long or too deep.
    """

    text: str
    key: str = ""
    names: frozenset[str] = field(init=False, compare=False)
    partial: bool = field(init=False, compare=False)
    _run: _Run = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        compiler = _Compiler()
        try:
            if len(self.text) > _LONGEST:
                raise SyntaxError(f"a text of at most {_LONGEST} characters is wanted")
            run = compiler.compile(ast.parse(self.text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else error
            got = f"{self.text!r:.200}"
            raise InputError([(self.key, f"got {got}: {reason}; expected {FORMS}")]) from error
        object.__setattr__(self, "names", frozenset(compiler.names))
        object.__setattr__(self, "partial", compiler.partial)
        object.__setattr__(self, "_run", run)

    def __reduce__(self) -> tuple[type[Expression], tuple[str, str]]:
        """Copies and pickles as its text: nested functions cannot be."""
        return Expression, (self.text, self.key)

    def value(self, values: Values) -> ParamValue:
        """The value for a configuration.

        Raises:
            KeyError: a parameter that it needs is not active.
            ArithmeticError: it cannot be computed: a division by zero, a number too large.
            InputError: a string where a number is needed, or the other way round.
        """
        try:
            result: ParamValue = self._run(values)
        except WrongType as error:
            given = ", ".join(f"{name}={values[name]!r}" for name in sorted(self.names) if name in values)
            raise InputError([(self.key, f"{error} in {self.text!r} with {given or 'nothing'}")]) from error
        except ValueError as error:  # of round() and int(): not a number
            raise ArithmeticError(str(error)) from error
        if isinstance(result, float) and not math.isfinite(result):
            raise OverflowError(f"{self.text!r} is {result}")
        return result

    def holds(self, values: Values, *, inactive: bool) -> bool:
        """Whether the expression is true; one that cannot be computed is not.

        Args:
            inactive: the answer where a parameter that it needs is not active.

        Raises:
            InputError: a string where a number or a truth value is needed.
        """
        try:
            result = self.value(values)
        except KeyError:
            return inactive
        except ArithmeticError:
            return False
        if isinstance(result, str):
            raise InputError([(self.key, f"expected a truth value, got {result!r} from {self.text!r}")])
        return bool(result)


def _positive(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value > 0


class _Compiler:
    """Turns a syntax tree into nested functions and gathers its names."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.partial = False
        self._depth = 0

    def compile(self, node: ast.expr) -> _Run:
        """The function of one node.

        Raises:
            SyntaxError: a node that expressions do not have.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise SyntaxError(f"more than {_DEEPEST} operations inside each other")
        try:
            return self._node(node)
        finally:
            self._depth -= 1

    def _node(self, node: ast.expr) -> _Run:
        match node:
            case ast.Constant(value=value):
                return self._constant(value)
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.compile(operand)
                return lambda values: not truth(inner(values))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.compile(operand)
                return lambda values: -number(inner(values))
            case ast.BinOp(op=op) if type(op) in OPERATIONS:
                return self._operation(node)
            case ast.BoolOp(op=op, values=parts):
                return self._joined([self.compile(part) for part in parts], isinstance(op, ast.Or))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node)
        raise SyntaxError(f"{ast.unparse(node)!r} is none of these")

    def _constant(self, value: object) -> _Run:
        if not isinstance(value, str | int | float) or (isinstance(value, float) and math.isinf(value)):
            raise SyntaxError(f"{value!r} is no number or string")
        return lambda values: value

    def _name(self, node: ast.expr) -> _Run:
        parts, inner = list[str](), node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise SyntaxError(f"{ast.unparse(node)!r} is no name of a parameter")
        name = ".".join([inner.id, *reversed(parts)])
        if name in _WORDS:
            word = _WORDS[name]
            return lambda values: word
        self.names.add(name)
        return lambda values: values[name]

    def _operation(self, node: ast.BinOp) -> _Run:
        operation = OPERATIONS[type(node.op)]
        left, right = self.compile(node.left), self.compile(node.right)
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
            self.partial |= not _positive(node.right)
        elif isinstance(node.op, ast.Pow):
            self.partial |= not _positive(node.left)
        return lambda values: operation(number(left(values)), number(right(values)))

    def _joined(self, parts: list[_Run], answer: bool) -> _Run:
        """`or` where the first part that is True decides, `and` where the first that is False does."""

        def run(values: Values) -> bool:
            return answer if any(truth(part(values)) is answer for part in parts) else not answer

        return run

    def _comparison(self, node: ast.Compare) -> _Run:
        first, links = self.compile(node.left), list[tuple[Callable[[Any, Any], bool], _Run]]()
        for op, right in zip(node.ops, node.comparators, strict=True):
            links.append(self._link(op, right))

        def run(values: Values) -> bool:
            left = first(values)
            for holds, operand in links:
                right = operand(values)
                if not holds(left, right):
                    return False
                left = right
            return True

        return run

    def _link(self, op: ast.cmpop, right: ast.expr) -> tuple[Callable[[Any, Any], bool], _Run]:
        if isinstance(op, ast.In | ast.NotIn):
            wanted = isinstance(op, ast.In)
            return lambda one, all_: any(equal(one, each) for each in all_) is wanted, self._list(right)
        operand = self.compile(right)
        if isinstance(op, ast.Eq):
            return equal, operand
        if isinstance(op, ast.NotEq):
            return lambda one, two: not equal(one, two), operand
        if type(op) not in ORDERINGS:
            raise SyntaxError("is and is not are none of these")
        ordering = ORDERINGS[type(op)]
        return lambda one, two: ordering(number(one), number(two)), operand

    def _list(self, node: ast.expr) -> _Run:
        if not isinstance(node, ast.Tuple | ast.List):
            raise SyntaxError(f"in needs a list, such as ('a', 'b'), not {ast.unparse(node)}")
        parts = [self.compile(part) for part in node.elts]
        return lambda values: [part(values) for part in parts]

    def _call(self, node: ast.Call) -> _Run:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS or node.keywords:
            raise SyntaxError(f"{ast.unparse(node)!r} is no call of {', '.join(FUNCTIONS)}")
        function, counts = FUNCTIONS[name]
        if len(node.args) not in counts:
            raise SyntaxError(f"{name} cannot take {len(node.args)} arguments")
        self.partial |= name in ("log2", "sqrt")
        parts = [self.compile(part) for part in node.args]
        return lambda values: function(*(number(part(values)) for part in parts))
