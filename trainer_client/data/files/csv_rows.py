"""Reads rows of CSV, of which the first line names the columns. It needs no library.

Guarantees: rows are read one by one, as the caller takes them. An empty cell is a missing value. A row with more or
fewer cells than there are columns is an error, and so is a column that is there twice.
"""

import csv
import io
from collections.abc import Generator
from typing import IO, Any

from trainer_client.data.records import check_names
from trainer_client.errors import DataError

_MAX_CELL_CHARACTERS = 2**27


def rows(name: str, file: IO[bytes]) -> Generator[tuple[str, Any]]:
    """`name` is the file's, for errors. Yields place and row."""
    before = csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
            found = csv.DictReader(text, strict=True)
            check_names(name, found.fieldnames or ())
            for number, row in enumerate(found):
                place = f"{name}, row {number} (the first is row 0)"
                if None in row:
                    raise DataError(f"{place}: has more cells than the first line has names; quote cells with commas")
                if None in row.values():
                    raise DataError(
                        f"{place}: has fewer cells than the first line has names; write an empty cell where there is "
                        "no value"
                    )
                yield place, {column: cell for column, cell in row.items() if cell}
    except UnicodeDecodeError:
        raise DataError(f"{name}: not UTF-8; write the file in UTF-8") from None
    except csv.Error as error:
        raise DataError(
            f"{name}: not readable as CSV ({error}); quote cells with commas, quotes or new lines"
        ) from None
    finally:
        csv.field_size_limit(before)
