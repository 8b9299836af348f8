"""All views of the contract: built for a dialect, made in a database, dropped before a migration.

Base tables are exact integers for programs; views are for people: amounts, prices and quantities as numbers, codes as
text, a UTC text beside every `_ms`. Views hold no data, so migrations drop them first and make them anew at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from sqlalchemy import Connection

from trader.store import views_ledger, views_population, views_session, views_trades
from trader.store.database import POSTGRESQL
from trader.store.expressions import Dialect, View

_BUILDERS: Final[tuple[Callable[[Dialect], View], ...]] = (
    views_session.run,
    views_trades.trade,
    views_trades.position,
    views_trades.order,
    views_trades.fill,
    views_population.funnel,
    views_ledger.transfer,
    views_population.agent,
    views_population.fitness,
    views_population.level,
    views_population.modification,
    views_population.bandit,
    views_population.policy,
    views_ledger.allocation,
    views_session.candle,
    views_ledger.funding,
    views_session.incident,
    views_ledger.equity,
    views_session.trial,
)


@cache
def all_views(dialect: str) -> dict[str, View]:
    """The views by name, in the order of the contract."""
    built = [builder(Dialect(dialect)) for builder in _BUILDERS]
    for view in built:
        assert all(
            [(c.name, c.kind) for c in part.columns] == [(c.name, c.kind) for c in view.columns] for part in view.parts
        ), f"{view.name}: its parts differ in columns"
    return {view.name: view for view in built}


def create_all(connection: Connection) -> None:
    """Make every view."""
    for name, view in all_views(connection.dialect.name).items():
        text = f'CREATE VIEW "{name}" AS\n{view.sql()}'
        connection.exec_driver_sql(text.replace("%", "%%") if connection.dialect.name == POSTGRESQL else text)


def drop_all(connection: Connection) -> None:
    """Drop every view that there is."""
    for name in all_views(connection.dialect.name):
        connection.exec_driver_sql(f'DROP VIEW IF EXISTS "{name}"')
