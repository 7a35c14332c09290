"""Read YAML as kubectl does, which is not as PyYAML does.

kubectl reads by sigs.k8s.io/yaml: as YAML 1.1, but without numbers to the base of 60 (so that a MAC address such as
52:54:00:11:22:33 is text without quotation marks) and without dates, and with ``1e3`` as a number; and keys are texts.
Whole numbers of more than 64 bits are floating-point numbers, as the API server makes them.
Source: https://github.com/kubernetes-sigs/yaml/blob/v1.6.0/goyaml.v2/resolve.go
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_BOOLS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_BOOL = re.compile(r"^(?:" + "|".join(f"{word}|{word.title()}|{word.upper()}" for word in _BOOLS) + r")$")
_NUMBER = re.compile(
    r"^[-+]?(?:0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)$"
)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BASES = {"0x": 16, "0b": 2, "0o": 8}
_MOST_CHARACTERS = 4300
MOST_VALUES = 400_000
"""Of all documents of a text, each counted as often as an alias repeats it; kubectl has the same bound for what the
aliases of one document repeat, but a text may have many.
Source: https://github.com/kubernetes-sigs/yaml/blob/v1.6.0/goyaml.v2/decode.go, allowedAliasRatio"""


class _Loader(yaml.SafeLoader):
    """Knows texts, numbers, truth values and null, and lists and objects of them: what JSON can say, and no more."""

    _values = 0
    """In the documents so far."""

    def compose_document(self) -> yaml.Node | None:
        """Compose a document; raises YAMLError for one that aliases make too large, before any of it is built."""
        document = super().compose_document()
        self._values += _count_values(document, {}) if document is not None else 0
        if document is not None and self._values > MOST_VALUES:
            text = f"with what its aliases repeat, it holds more than {MOST_VALUES} values"
            raise yaml.composer.ComposerError(None, None, text, document.start_mark)
        return document


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    if id(node) not in known:
        known[id(node)] = 1  # of one that holds itself; it is refused when it is built
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = 0 if isinstance(node, yaml.ScalarNode) else sum(_count_values(part, known) for part in parts)
        known[id(node)] = 1 + inner
    return known[id(node)]


_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("tag:yaml.org,2002:bool", _BOOL, "yYnNtTfFoO"),
    ("tag:yaml.org,2002:int", _NUMBER, "-+.0123456789"),
    ("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile("^<<$"), "<"),
):
    _Loader.add_implicit_resolver(_tag, _form, list(_first))


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise yaml.constructor.ConstructorError(None, None, "a text has half a character (\\ud800)", node.start_mark)
    return text


def _construct_bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in _BOOLS:
        raise yaml.constructor.ConstructorError(None, None, "this is neither true nor false", node.start_mark)
    return _BOOLS[text]


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node)
    if len(text) > _MOST_CHARACTERS:
        raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
    sign, digits = (-1 if text.startswith("-") else 1), text.replace("_", "").lstrip("+-").lower()
    base = _BASES.get(digits[:2], 8 if re.fullmatch("0[0-7]+", digits) else 0)
    if base:
        return _fit(sign * int(digits[2:] if digits[:2] in _BASES else digits, base))
    return _fit(sign * (int(digits) if digits.isdigit() else float(digits)))


def _fit(value: int | float) -> int | float:
    """Return a number as the kind that Kubernetes holds it as; raises OverflowError for one that neither holds."""
    if -(2**63) <= value < 2**63:
        return int(value) if int(value) == value else value
    return float(value)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "this is no object", node.start_mark)
    loader.flatten_mapping(node)
    found = loader.construct_mapping(node, deep=True)
    return {_write_key(key, node): value for key, value in found.items()}


def _write_key(key: Any, node: yaml.Node) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, str | int | float):
        return str(key)
    raise yaml.constructor.ConstructorError(None, None, "a key must be a text or a number", node.start_mark)


_Loader.yaml_constructors = {
    "tag:yaml.org,2002:str": _construct_text,
    "tag:yaml.org,2002:bool": _construct_bool,
    "tag:yaml.org,2002:int": _construct_number,
    "tag:yaml.org,2002:float": _construct_number,
    "tag:yaml.org,2002:null": yaml.SafeLoader.construct_yaml_null,
    "tag:yaml.org,2002:seq": yaml.SafeLoader.construct_yaml_seq,
    "tag:yaml.org,2002:map": _construct_mapping,
    None: yaml.SafeLoader.construct_undefined,
}


def read_documents(text: str) -> list[Any]:
    """Return the documents of a text; raises yaml.YAMLError for what is no YAML or can't be JSON."""
    try:
        return list(yaml.load_all(text, _Loader))
    except (ValueError, OverflowError) as error:
        raise yaml.YAMLError(str(error)) from error
    except RecursionError:
        raise yaml.YAMLError("it nests too deep") from None
