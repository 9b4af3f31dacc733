"""Series that a function of the user's own returns: data=own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature

from gru_parallel.config.data_section import OwnDataConfig
from gru_parallel.data.parts import check_alike, named
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError
from gru_parallel.own_names import own


def own_tables(data: OwnDataConfig, targets: Sequence[str] | None) -> list[Table]:
    """Call the function; what it raises itself goes on to the caller.

    Args:
        data: names the function and its arguments.
        targets: columns to forecast in place of those that it says; None for those.

    Raises:
        UsageError: there is no such function, it does not take the arguments, or returns something
            other than series with the same columns.
    """
    function, arguments = own("data.source", data.source), data.arguments or {}
    try:
        signature(function).bind(**arguments)
    except TypeError as error:
        raise UsageError(
            f"data.arguments={arguments} are not those of {data.source}: {error};"
            f" it takes {signature(function)}."
        ) from error
    source = f"data.source={data.source}"
    try:
        made = function(**arguments)
        tables = list(made) if isinstance(made, list | tuple) else [made]
        kinds = {type(table).__name__ for table in tables if not isinstance(table, Table)}
        if kinds or not tables:
            raise UsageError(
                f"it returned {', '.join(kinds) or 'no series'}; return a gru_parallel.data.Table,"
                " or a list of them."
            )
        check_alike(tables)
        tables = list(named(tables))
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    found = [
        replace(each, source=source, targets=each.targets if targets is None else tuple(targets))
        for each in tables
    ]
    if any(each.times is not None for each in found):
        # It is with pandas, which a series without times can do without.
        from gru_parallel.data.uneven import warn_of_uneven

        warn_of_uneven(found)
    return found
