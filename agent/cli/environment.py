"""Which environment variable a value came from, for messages about it.

Rules: names are those that click looks a value up by: an option's own `envvar`, else the command's prefix and its name.
"""

from __future__ import annotations

import click
from click.core import ParameterSource


def variable(ctx: click.Context, parameter: click.Parameter) -> str:
    """An empty name if the value of the parameter came from elsewhere."""
    name = parameter.name or ""
    if ctx.get_parameter_source(name) is not ParameterSource.ENVIRONMENT:
        return ""
    return parameter.envvar if isinstance(parameter.envvar, str) else f"{ctx.auto_envvar_prefix}_{name.upper()}"
