"""Key steps: the tokens in which a right rationale and a wrong one part, found by a shortest edit."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feints.errors import DataError

Mask = NDArray[np.bool_]
_PADDING = object()
"""Stands behind both texts where they are aligned padded: equal to itself and to no token."""


def key_steps(
    right_ids: Sequence[Hashable],
    wrong_ids: Sequence[Hashable],
    *,
    symmetric: bool = False,
    padded_to: int | None = None,
) -> tuple[Mask, Mask]:
    """Tokens of each text that a shortest edit into the other deletes or replaces (Dai et al., ACL 2025, EDIT).

    The longest common prefix takes no part and is never marked. On the rest D is the edit distance at unit costs,
    traced back from the end; of steps that are equally short, delete comes before insert before diagonal. Each text
    is traced in a run of its own, as the one that is deleted from; an insertion marks nothing there.

    Args:
        right_ids: tokens of the right text; a prompt that both share may stand in front.
        wrong_ids: tokens of the wrong text.
        symmetric: mark both texts in the run of the right one, so that what stays unmarked is the same in both.
        padded_to: align both as if padded at the end to so many tokens, as the released code does (EDIT-A5). It
            marks other tokens, since equal lengths bend the alignment.

    Returns:
        Two bool arrays, one flag for each token given: true for key tokens.

    Raises:
        DataError: a text is longer than `padded_to`.
    """
    right, wrong = _padded(right_ids, padded_to), _padded(wrong_ids, padded_to)
    start = _common_prefix(right, wrong)
    # The loops run over the shorter text: wider numbers cost less than more rounds.
    flipped = len(right) < len(wrong)
    rows, columns = (wrong[start:], right[start:]) if flipped else (right[start:], wrong[start:])
    table = _table(rows, columns)
    one_run = _marks_of_one_run(table, rows_first=not flipped) if symmetric else None
    row_keys, column_keys = one_run or (_row_marks(table), _column_marks(table))
    right_keys, wrong_keys = (column_keys, row_keys) if flipped else (row_keys, column_keys)
    return _mask(right_keys, start, len(right_ids)), _mask(wrong_keys, start, len(wrong_ids))


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Least number of tokens to delete, insert or replace that makes one text of the other (Levenshtein)."""
    table = _table(list(a), list(b))
    return len(b) + table.rising.bit_count() - table.falling.bit_count()


class _Table(NamedTuple):
    """The table D of two texts, kept as its steps: bit i of a number belongs to row i, bit 0 to the empty text."""

    last: int
    """The bit of the last row."""
    steps: list[tuple[int, int, int]]
    """For each column: where D[i, j] = D[i-1, j] + 1, so that deleting the row's token is a shortest way; where
    D[i, j] = D[i, j-1] + 1, so that deleting the column's is; where the two tokens are the same. Further bits may be
    set above the last row."""
    rising: int
    """Where D[i, m] = D[i-1, m] + 1 in the last column."""
    falling: int
    """Where D[i, m] = D[i-1, m] - 1 in the last column."""


def _table(rows: Sequence[Hashable], columns: Sequence[Hashable]) -> _Table:
    """All of D, a column at a time, in whole numbers with a bit per row (Myers 1999, Hyyrö 2003)."""
    places: dict[Hashable, int] = {}
    known = places.get
    bit = 1
    for token in rows:
        bit <<= 1
        places[token] = known(token, 0) | bit
    # Of the first row it is known that D[0, j] = D[0, j-1] + 1: bit 0 of `across` is always set, of `up` never.
    whole, below = bit * 2 - 1, bit * 2 - 2
    up, falling = below, 0
    steps: list[tuple[int, int, int]] = []
    add = steps.append
    for token in columns:
        same = known(token, 0)
        if same:
            level = same | falling
            level |= ((level & up) + up) ^ up
            across = falling | ((level | up) ^ whole)
            shifted = across << 1
            up = ((level & up) << 1 | ((level | shifted) ^ below)) & below
            falling = shifted & level
        else:  # the same with level = falling, which shares no bit with `up`
            across = up ^ whole
            shifted = across << 1
            up = ((falling | shifted) ^ below) & below
            falling &= shifted
        add((up, across, same))
    return _Table(bit, steps, up, falling & below)


def _row_marks(table: _Table) -> int:
    """Rows deleted or replaced in the run that deletes rows: down, else across, else diagonal."""
    marks, here = 0, table.last
    for down, across, same in reversed(table.steps):
        while down & here:
            marks |= here
            here >>= 1
        if not across & here:
            if not same & here:
                marks |= here
            here >>= 1
    return marks >> 1 | here - 1


def _column_marks(table: _Table) -> int:
    """Columns deleted or replaced in the run that deletes columns: across, else down, else diagonal."""
    marks, here, column = 0, table.last, 1 << len(table.steps)
    for down, across, same in reversed(table.steps):
        column >>= 1
        while down & here and not across & here:
            here >>= 1
        if across & here:
            marks |= column
        else:
            if not same & here:
                marks |= column
            here >>= 1
    return marks


def _marks_of_one_run(table: _Table, *, rows_first: bool) -> tuple[int, int]:
    """Rows and columns deleted, inserted or replaced in one of the two runs."""
    rows, columns, here, column = 0, 0, table.last, 1 << len(table.steps)
    for down, across, same in reversed(table.steps):
        column >>= 1
        while down & here and (rows_first or not across & here):
            rows |= here
            here >>= 1
        if across & here or not same & here:
            columns |= column
        if not across & here:
            rows |= here & ~same
            here >>= 1
    return rows >> 1 | here - 1, columns


def _padded(ids: Sequence[Hashable], length: int | None) -> list[Hashable]:
    if length is not None and len(ids) > length:
        raise DataError(f"a text of {len(ids)} tokens cannot be padded to {length}; leave it out or pad to more")
    return [*ids, *[_PADDING] * (0 if length is None else length - len(ids))]


def _common_prefix(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))


def _mask(keys: int, start: int, length: int) -> Mask:
    """Flags from the bits of `keys`, whose first belongs to token `start`; bits beyond `length` are padding's."""
    found = np.zeros(length, dtype=np.bool_)
    size = length - start
    if size > 0:
        keys &= (1 << size) - 1
        packed = np.frombuffer(keys.to_bytes((size + 7) // 8, "little"), dtype=np.uint8)
        found[start:] = np.unpackbits(packed, count=size, bitorder="little")
    return found
