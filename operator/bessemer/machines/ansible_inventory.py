"""The inventory as a file for Ansible in which every text is data.

Ansible takes texts of an inventory for Jinja templates and renders them where it runs: in the phase pod, which has the
build's seed and login key. Our own inventories hold no templates, and what comes from the API (variables, URLs, names,
reasons) must not be any. Texts marked ``!unsafe`` are never rendered, also not where another template uses them.

Source: https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_advanced_syntax.html#unsafe-or-raw-strings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_TEXT = "tag:yaml.org,2002:str"


class _DataDumper(yaml.SafeDumper):
    """Writes values of JSON, and marks their texts."""


def _represent_text(dumper: _DataDumper, text: str) -> yaml.ScalarNode:
    # Ansible reads a marked "true" or "010" as a bool or number; those can't hold a template, and so need no mark.
    is_text = dumper.resolve(yaml.ScalarNode, text, (True, False)) == _TEXT  # type: ignore[no-untyped-call]
    return dumper.represent_scalar("!unsafe" if is_text else _TEXT, text)


_DataDumper.add_representer(str, _represent_text)


def render_inventory(inventory: Mapping[str, Any]) -> str:
    """Return the text of an inventory for Ansible's YAML plugin; keys are marked like values."""
    return yaml.dump(dict(inventory), Dumper=_DataDumper, sort_keys=False)
