"""What our roles take, from their argument_specs, and what is wrong with variables of a spec by that.

Ansible itself checks these when a role runs, but leniently: it splits a text where a list is wanted, and then
goes on with the text. Here a value must have the type and the form that are written down (:mod:`.value_forms`), before
a machine is touched. Other variables belong to the site and are not checked, unless they look like one of a role
with a slip in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bessemer.foreign import make_line
from bessemer.machines.value_forms import DECLARED, SETTINGS, explain_misfit

SHOWN_CHARACTERS = 60
"""Of a wrong value, in a message."""
_ALIKE = 0.88
"""How alike names are that differ by a slip: one character in nine."""


class Option(BaseModel):
    """One option of a role.

    Source: https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_reuse_roles.html#specification-format
    """

    model_config = ConfigDict(extra="ignore")

    description: str | tuple[str, ...] = ""
    """Of which the last line may name the form of its texts or numbers."""
    type: str = "str"
    elements: str | None = None
    """Type of the elements of a list."""
    required: bool = False
    choices: tuple[Any, ...] = ()
    options: dict[str, Option] = Field(default_factory=dict)
    """Of a dict, or of the elements of a list of them."""
    default: Any = None

    @property
    def form(self) -> str | None:
        """What its texts or numbers have to be; None where nothing is said."""
        if self.type == "path":
            return "path"
        last = self.description[-1] if isinstance(self.description, tuple) and self.description else ""
        declared = DECLARED.fullmatch(last)
        return declared["name"] if declared else ("line" if self.type == "str" else None)

    @property
    def may_be_null(self) -> bool:
        """Whether null says that it is left out."""
        return self.default is None and not self.required


Roles = Mapping[str, Mapping[str, Option]]
"""Options by the names of role and variable."""


def read_roles(directory: Path) -> Roles:
    """Read the options of all roles in a folder, those of all entry points of a role together."""
    found: dict[str, dict[str, Option]] = {}
    for file in sorted(directory.glob("*/meta/argument_specs.yml")):
        options = found.setdefault(file.parts[-3], {})
        for entry_point in yaml.safe_load(file.read_text())["argument_specs"].values():
            options |= {name: Option.model_validate(option) for name, option in entry_point["options"].items()}
    return found


def decide_wrong_values(variables: Mapping[str, Any], roles: Roles) -> list[str]:
    """List the variables of our roles that have wrong values, each as a sentence that says what would be right."""
    known = _join(roles)
    return [text for name, value in variables.items() if name in known for text in _check(name, value, known[name])]


def decide_unknown_names(variables: Mapping[str, Any], roles: Roles) -> list[str]:
    """List the variables that look like ours and are none, each as a sentence."""
    known, prefixes = _join(roles), tuple(f"{role}_" for role in roles)
    complaints: list[str] = []
    for name in variables:
        meant = get_close_matches(name, known, 1, _ALIKE) if name not in known else []
        if meant or (name not in known and name.startswith(prefixes)):
            asked = f"; is {meant[0]} meant?" if meant else ""
            complaints.append(f"{make_line(name, 64)} is no variable of our roles{asked}")
    return complaints


def _join(roles: Roles) -> dict[str, Option]:
    return {name: option for options in roles.values() for name, option in options.items()}


def _check(where: str, value: object, option: Option) -> Iterator[str]:
    if value is None and option.may_be_null:
        return
    wanted = _TYPES[option.type][0]
    if not _has_type(value, option.type):
        yield f"{where} must be {wanted}{_build_example(value, option)}, not {_show(value)}"
    elif option.choices and value not in option.choices:
        yield f"{where} must be one of {', '.join(map(str, option.choices))}, not {_show(value)}"
    elif isinstance(value, list):
        element = option.model_copy(update={"type": option.elements or "raw", "default": None, "required": True})
        for number, part in enumerate(value):
            if part == "" and element.type == "str":
                yield f"{where}[{number}] must not be empty"
                continue
            yield from _check(f"{where}[{number}]", part, element)
    elif isinstance(value, dict) and option.options:
        yield from _check_dict(where, value, option.options)
    elif isinstance(value, dict) and option.form == SETTINGS:
        yield from _check_settings(where, value)
    elif isinstance(value, str | int) and option.form is not None and value != option.default:
        meant = explain_misfit(value, option.form)
        if meant:
            yield f"{where} must be {meant}, not {_show(value)}"


def _check_dict(where: str, value: Mapping[str, object], options: Mapping[str, Option]) -> Iterator[str]:
    for name, part in value.items():
        if name in options:
            yield from _check(f"{where}.{name}", part, options[name])
        else:
            yield f"{where}.{make_line(name, 64)} is none of {', '.join(options)}"
    for name, option in options.items():
        if option.required and name not in value:
            yield f"{where}.{name} is missing: {_TYPES[option.type][0]}"


def _check_settings(where: str, settings: Mapping[str, object]) -> Iterator[str]:
    for name, value in settings.items():
        misfit = explain_misfit(name, "key")
        if misfit:
            yield f"{where} has {_show(name)}, which must be {misfit}"
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool) or value is None:
                continue
            if not isinstance(part, str | int | float):
                yield f"{where}.{name} must be a text, a number, true, false, null or a list, not {_show(value)}"
            elif meant := explain_misfit(str(part), "setting"):
                yield f"{where}.{name} must be {meant}, not {_show(part)}"


_TYPES = {
    "str": ("a text", str),
    "path": ("a path", str),
    "int": ("a whole number", int),
    "bool": ("true or false", bool),
    "list": ("a list", list),
    "dict": ("an object", dict),
    "raw": ("a value", object),
}
"""Types that our roles use: in words, and what JSON decodes to."""


def _has_type(value: object, name: str) -> bool:
    if isinstance(value, bool) and name == "int":  # which Python takes for a number
        return False
    return isinstance(value, _TYPES[name][1])


def _build_example(value: object, option: Option) -> str:
    """Write what was probably meant; empty where that is not clear."""
    if option.type == "list" and isinstance(value, str) and option.elements == "str":
        return f" such as {_show([value])}"
    if option.type == "str" and isinstance(value, int | float):
        return f' such as "{_show(value)}", in quotes'
    return ""


def _show(value: object) -> str:
    return make_line(json.dumps(value, ensure_ascii=False), SHOWN_CHARACTERS)
