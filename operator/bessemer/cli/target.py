"""Which cluster and namespace a command is for: the options that all such commands have, as kubectl has them.

They may stand before the command's name as well as after it. Nothing heavy is imported here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

Arguments = ParamSpec("Arguments")
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Namespace; default: the one of the context.", show_default=False
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="Context of the kubeconfig; default: the current one.", show_default=False
    ),
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Kubeconfig file; default: $KUBECONFIG, ~/.kube/config.",
        show_default=False,
    ),
]
_OPTIONS = {"namespace": NamespaceOption, "context": ContextOption, "kubeconfig": KubeconfigOption}


@dataclass(frozen=True)
class Target:
    """Where a command works; None is the default of the kubeconfig, or of the pod that the command runs in."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


def read_target(ctx: typer.Context) -> Target:
    """Return what the options of the command say, or else those that stand before its name."""
    given = [ctx.params, ctx.parent.params if ctx.parent else {}]
    return Target(**{name: next((found[name] for found in given if found.get(name)), None) for name in _OPTIONS})


def on_cluster(function: Callable[Concatenate[Target, Arguments], None]) -> Callable[..., None]:
    """Add the options to a command; the function gets their values as its first argument."""

    def command(ctx: typer.Context, **given: Any) -> None:
        function(read_target(ctx), **{name: value for name, value in given.items() if name not in _OPTIONS})  # type: ignore[call-arg]  # typer passes what the signature has

    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *added]
    functools.update_wrapper(command, function)
    vars(command).pop("__wrapped__")  # whose signature typer would take
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect looks for it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
