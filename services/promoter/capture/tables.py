"""MLflow's tables, as the capture reads them: which columns of which types, and what differs in a database."""

from collections.abc import Iterable, Mapping

TEXT = frozenset({"text", "character varying", "character"})
INTEGER = frozenset({"smallint", "integer", "bigint"})
KINDS = {TEXT: "text", INTEGER: "an integer"}

EXPECTED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "registered_model_aliases": {"workspace": TEXT, "name": TEXT, "alias": TEXT, "version": INTEGER},
    "model_versions": {
        "workspace": TEXT, "name": TEXT, "version": INTEGER, "current_stage": TEXT, "run_id": TEXT,
        "last_updated_time": INTEGER,
    },
    "model_version_tags": {"workspace": TEXT, "name": TEXT, "version": INTEGER, "key": TEXT, "value": TEXT},
}  # fmt: skip

COLUMNS = """
    SELECT c.relname AS table, a.attname AS column, regexp_replace(format_type(a.atttypid, NULL), ' \\(.*', '') AS type
    FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.oid IN (SELECT to_regclass(name) FROM unnest(%s) AS name)
"""


def differences(columns: Iterable[Mapping[str, str]]) -> list[str]:
    """Return one phrase for each table or column that is not there or of another type, in a fixed order.

    `columns` has `table`, `column` and `type` (PostgreSQL's name of it) of each column found.
    """
    found: dict[str, dict[str, str]] = {}
    for row in columns:
        found.setdefault(row["table"], {})[row["column"]] = row["type"]
    return [fault for table, expected in EXPECTED.items() for fault in _of_table(table, expected, found.get(table))]


def _of_table(table: str, expected: Mapping[str, frozenset[str]], found: Mapping[str, str] | None) -> list[str]:
    if found is None:
        return [f"there is no table {table}"]
    faults = []
    for column, types in expected.items():
        if column not in found:
            faults.append(f"{table} has no column {column}")
        elif found[column] not in types:
            faults.append(f"{table}.{column} is {found[column]}, not {KINDS[types]}")
    return faults
