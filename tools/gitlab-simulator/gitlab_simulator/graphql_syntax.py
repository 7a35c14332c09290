"""Reads a GraphQL query: the part of the language that clients of GitLab use to read. Pure.

Left out, and refused: fragments, directives, mutations, several operations. Source: https://spec.graphql.org/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r'[\s,]*(?:#[^\n]*[\s,]*)*(?P<token>\.\.\.|[{}()\[\]:!$=@]|-?\d+(?!\w)|"(?:[^"\\\n]|\\.)*"|[A-Za-z_]\w*|\S|$)'
)
DEPTH_LIMIT = 12


class GraphQLSyntaxError(Exception):
    """It is no query, or one of a kind that is not understood here; the text says where."""


@dataclass(frozen=True)
class Selected:
    """One field that is asked for."""

    name: str
    alias: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fields: tuple[Selected, ...] = ()


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self._tokens = [match["token"] for match in _TOKEN.finditer(text) if match["token"]]
        self._at = 0
        self._given = variables
        self._declared: dict[str, Any] = {}

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise GraphQLSyntaxError(f"Expected {wanted or 'more'}, actual: {token or 'end of query'} ({self._at})")
        self._at += 1
        return token

    def take_name(self) -> str:
        if not re.fullmatch(r"[A-Za-z_]\w*", self.peek()):
            raise GraphQLSyntaxError(f"Expected a name, actual: {self.peek() or 'end of query'}")
        return self.take()

    def read_query(self) -> tuple[Selected, ...]:
        if self.peek() != "{":
            self.take("query")
            if self.peek() not in ("(", "{"):
                self.take_name()
            if self.peek() == "(":
                self._read_declarations()
        fields = self._read_fields(0)
        if self.peek():
            raise GraphQLSyntaxError(f"Expected end of query, actual: {self.peek()}")
        return fields

    def _read_declarations(self) -> None:
        self.take("(")
        while self.peek() != ")":
            self.take("$")
            name = self.take_name()
            self.take(":")
            required = self._read_type()
            default = None
            if self.peek() == "=":
                self.take()
                default = self._read_value()
            value = self._given.get(name, default)
            if required and value is None:
                raise GraphQLSyntaxError(f"Variable ${name} was provided invalid value: Expected value to not be null")
            self._declared[name] = value
        self.take(")")

    def _read_type(self) -> bool:
        if self.peek() == "[":
            self.take()
            self._read_type()
            self.take("]")
        else:
            self.take_name()
        if self.peek() == "!":
            self.take()
            return True
        return False

    def _read_fields(self, depth: int) -> tuple[Selected, ...]:
        if depth > DEPTH_LIMIT:
            raise GraphQLSyntaxError(f"Query has depth of more than {DEPTH_LIMIT}")
        self.take("{")
        found = [self._read_field(depth)]
        while self.peek() != "}":
            found.append(self._read_field(depth))
        self.take("}")
        return tuple(found)

    def _read_field(self, depth: int) -> Selected:
        if self.peek() in ("...", "@"):
            raise GraphQLSyntaxError("Fragments and directives are not understood by the simulator")
        alias = name = self.take_name()
        if self.peek() == ":":
            self.take()
            name = self.take_name()
        arguments = {}
        if self.peek() == "(":
            self.take()
            while self.peek() != ")":
                key = self.take_name()
                self.take(":")
                arguments[key] = self._read_value()
            self.take(")")
        fields = self._read_fields(depth + 1) if self.peek() == "{" else ()
        return Selected(name, alias, arguments, fields)

    def _read_value(self) -> Any:
        token = self.peek()
        if token == "$":
            self.take()
            name = self.take_name()
            if name not in self._declared:
                raise GraphQLSyntaxError(f"Variable ${name} is used but not declared")
            return self._declared[name]
        if token == "[":
            self.take()
            values = []
            while self.peek() != "]":
                values.append(self._read_value())
            self.take("]")
            return values
        if token.startswith('"'):
            return self.take()[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        if re.fullmatch(r"-?\d+", token):
            return int(self.take())
        word = self.take_name()
        return _LITERALS.get(word, word)


_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


def parse_query(text: str, variables: Mapping[str, Any]) -> tuple[Selected, ...]:
    """Return the fields that a query asks for, with the variables' values in their places.

    Raises:
        GraphQLSyntaxError: it is no query that is understood here.
    """
    return _Reader(text, variables).read_query()
