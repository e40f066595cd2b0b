"""Floor: records as Parquet tables, the name and version of the record in the schema."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from feints.errors import StorageError, VersionError
from feints.records import RECORDS_VERSION

Row = TypeVar("Row")


def write_table(path: Path, record: type[Row], rows: Iterable[Row]) -> None:
    """Write rows of one record type as Parquet (zstd), its name and version in the schema."""
    listed = list(rows)
    schema = table_schema(record)
    columns = [pa.array([_plain(getattr(row, item.name)) for row in listed], type=item.type) for item in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, compression="zstd")


def read_table(path: Path, record: type[Row]) -> list[Row]:
    """Read rows back.

    Raises:
        VersionError: the table holds another record or version.
        StorageError: the file is missing or damaged.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing; run the recipe again to make it anew") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{path} is damaged ({error}); delete this file and run again") from error
    found = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if found.get("feints.record") != record.__name__ or found.get("feints.version") != str(RECORDS_VERSION):
        raise VersionError(
            f"{path} holds {found.get('feints.record', 'an unknown record')} version "
            f"{found.get('feints.version', 'unknown')}, expected {record.__name__} version {RECORDS_VERSION}; "
            "make it anew with this version of feints"
        )
    hints = typing.get_type_hints(record)
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    columns = [[_typed(hints[name], value) for value in table.column(name).to_pylist()] for name in names]
    return [record(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def table_schema(record: type[Any]) -> pa.Schema:
    """Arrow schema of a record type, from its annotations."""
    hints = typing.get_type_hints(record)
    fields = [pa.field(field.name, _arrow(hints[field.name])) for field in dataclasses.fields(record)]
    return pa.schema(fields, {"feints.record": record.__name__, "feints.version": str(RECORDS_VERSION)})


def _arrow(hint: Any) -> pa.DataType:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _arrow(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return pa.list_(_arrow(arguments[0]))
    if dataclasses.is_dataclass(hint):
        inner = typing.get_type_hints(hint)
        return pa.struct([pa.field(field.name, _arrow(inner[field.name])) for field in dataclasses.fields(hint)])
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return pa.string()
    return {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}[hint]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple) and value and not isinstance(value[0], (int, float)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def _typed(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _typed(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple:
        plain = arguments[0] in (int, float, str)
        return tuple(value) if plain else tuple(_typed(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        inner = typing.get_type_hints(hint)
        return hint(**{name: _typed(inner[name], item) for name, item in value.items()})
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    return value
