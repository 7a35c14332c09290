"""Show what a trigger would act upon, and what it would allow; reads nothing but the manifest."""

from __future__ import annotations

from bessemer.api.base import ApiModel
from bessemer.api.buildtrigger.names import KIND
from bessemer.api.buildtrigger.rules import Rule
from bessemer.api.buildtrigger.spec import BuildTriggerSpec
from bessemer.console.form import Form
from bessemer.console.refusal import build_refusal
from bessemer.console.terminal import build_cell, build_table, make_console, print_view
from bessemer.console.values import write_value
from bessemer.errors import Invalid
from bessemer.kinds.buildtrigger.policy import Policy
from bessemer.kinds.buildtrigger.rules import get_scope


def print_trigger_plan(name: str, spec: ApiModel, form: Form | None) -> None:
    """Print the rules and the policy; raises Invalid with what is wrong with the policy."""
    assert isinstance(spec, BuildTriggerSpec)  # noqa: S101  the view of this kind
    try:
        Policy(spec.allow).check()
    except Invalid as error:
        raise build_refusal([error.message]) from error
    rules = [_describe(rule) for rule in spec.rules]
    allowed = [(field, ", ".join(map(str, values)) or "nothing") for field, values in spec.allow.to_api().items()]
    if form is not None:
        listed = [dict(zip(("rule", "event", "refs", "leads to"), row, strict=True)) for row in rules]
        value = {"kind": KIND, "name": name, "projects": str(get_scope(spec)), "manifests": list(spec.manifests)}
        write_value({**value, "rules": listed, "allow": spec.allow.to_api()}, form)
        return
    print_view(
        make_console(),
        build_cell(f"buildtrigger/{name}: {get_scope(spec)} at {spec.gitlab.url}", "bold"),
        build_cell(f"manifests: {', '.join(spec.manifests)}"),
        "",
        build_table(("RULE", "EVENT", "REFS", "LEADS TO"), rules),
        "",
        build_table(("MANIFESTS MAY NAME", ""), allowed),
    )


def _describe(rule: Rule) -> tuple[str, str, str, str]:
    event, about = _describe_event(rule)
    wanted = "what the comment asks for" if rule.comment is not None else rule.mode.value
    return rule.name, event, about, f"{wanted}, if {', '.join(rule.paths)} changed" if rule.paths else wanted


def _describe_event(rule: Rule) -> tuple[str, str]:
    """Return what happens, and where."""
    if rule.comment is not None:
        forks = ", also from forks" if rule.comment.forks else ""
        return "comment", f"{', '.join(rule.comment.commands)} by {rule.comment.access_level} or more{forks}"
    if rule.merge_request is not None:
        drafts = ", drafts too" if rule.merge_request.drafts else ""
        only = _describe_protection(rule.merge_request.protected_only)
        return "merge request", f"to {', '.join(rule.merge_request.target_branches)} ({only}{drafts})"
    if rule.pipeline is not None:
        return "pipeline", f"{', '.join(rule.pipeline.refs)} ({_describe_protection(rule.pipeline.protected_only)})"
    if rule.job is not None:
        return "job", f"{', '.join(rule.job.refs)} ({_describe_protection(rule.job.protected_only)})"
    if rule.tag is not None:
        return "tag", f"{', '.join(rule.tag.tags)} ({_describe_protection(rule.tag.protected_only)})"
    names = ", ".join(rule.push.branches) if rule.push is not None else ""
    return "push", f"{names} ({_describe_protection(rule.push is None or rule.push.protected_only)})"


def _describe_protection(protected_only: bool) -> str:
    return "protected only" if protected_only else "also unprotected"
