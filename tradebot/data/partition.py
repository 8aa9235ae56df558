"""One day of one channel as a parquet file that carries its own manifest.

The manifest (rows, first and last time, SHA-256 of the values) lies in the file's footer, so data and manifest are
replaced together or not at all. Before compression (zstd) prices are split into byte streams and times delta encoded;
sizes stay as they are, because they repeat whole numbers, which splitting hides (decision 6).
"""

from __future__ import annotations

import hashlib
import io
import re
from datetime import UTC, date, datetime

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.data.channels import Channel
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS

KEY = b"tradebot.partition"
PRICES = re.compile(r"open|high|low|close|price|\w+_px(_\d+)?")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition says of itself.

    ``first_ms`` and ``last_ms`` are the times of the first and last row (None: no rows). ``sha256`` is over the values
    of all columns (:func:`content_sha256`). ``complete``: the whole day was collected after it had ended, so what is
    not there does not exist at the source. ``source``: where the rows came from, in words. ``absent``: rows of the
    grid that a repair asked for again and that the source still did not have.
    """

    rows: int
    first_ms: int | None
    last_ms: int | None
    sha256: str
    complete: bool
    source: str
    absent: int = 0


def date_of(ts_ms: int) -> str:
    """The UTC day of a time.

    >>> date_of(1767653640000)
    '2026-01-05'
    """
    return datetime.fromtimestamp(ts_ms // 1000, UTC).date().isoformat()


def day_start(day: str) -> int:
    """Midnight UTC at which a day written ``YYYY-MM-DD`` begins, ms. Raises DataError for anything else.

    >>> day_start("2026-01-05")
    1767571200000
    """
    try:
        parsed = date.fromisoformat(day)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != day:
        raise DataError(f"{day!r} is no date; write it as 2026-01-05")
    return (parsed - date(1970, 1, 1)).days * DAY_MS


def days_between(from_ms: int, to_ms: int) -> list[str]:
    """The UTC days that ``from_ms <= t < to_ms`` touches.

    >>> days_between(0, 86_400_001)
    ['1970-01-01', '1970-01-02']
    """
    return [date_of(at) for at in range(from_ms // DAY_MS * DAY_MS, to_ms, DAY_MS)]


def content_sha256(table: pa.Table) -> str:
    """SHA-256 of a table's column names, types and values, whatever its chunks or the encoding of its file."""
    digest = hashlib.sha256()
    for field in table.schema:
        digest.update(f"{field.name}:{field.type}:{table.num_rows}\n".encode())
        column = table[field.name]
        if pa.types.is_string(field.type):
            for text in column.to_pylist():
                raw = text.encode()
                digest.update(len(raw).to_bytes(4, "little") + raw)
        else:
            digest.update(np.ascontiguousarray(column.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()


def describe(channel: Channel, table: pa.Table, *, complete: bool, source: str, absent: int = 0) -> Manifest:
    """The manifest of rows sorted by time."""
    times = table[channel.time]
    rows = table.num_rows
    return Manifest(
        rows=rows,
        first_ms=times[0].as_py() if rows else None,
        last_ms=times[rows - 1].as_py() if rows else None,
        sha256=content_sha256(table),
        complete=complete,
        source=source,
        absent=absent,
    )


def encode(table: pa.Table, manifest: Manifest) -> bytes:
    """The bytes of a partition."""
    encodings = {field.name: enc for field in table.schema if (enc := _encoding(field))}
    stamped = table.replace_schema_metadata({KEY: msgspec.json.encode(manifest)})
    target = io.BytesIO()
    pq.write_table(
        stamped,
        target,
        compression="zstd",
        compression_level=3,
        use_dictionary=[field.name for field in table.schema if pa.types.is_string(field.type)],
        column_encoding=encodings,
        write_page_checksum=True,
        store_schema=True,
    )
    return target.getvalue()


def _encoding(field: pa.Field) -> str | None:
    if pa.types.is_integer(field.type):
        return "DELTA_BINARY_PACKED"
    return "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) and PRICES.fullmatch(field.name) else None


def manifest_of(source: object, where: str) -> Manifest:
    """The manifest in the footer of an open file. Raises DataError when it is not a partition or is damaged."""
    try:
        found = pq.read_metadata(source).metadata or {}
        return msgspec.json.decode(found[KEY], type=Manifest)
    except KeyError:
        raise DataError(
            f"{where}: a parquet file without this store's manifest; take it in with 'data import'"
        ) from None
    except (pa.ArrowException, OSError, msgspec.MsgspecError) as error:
        raise damaged(where, error) from None


def decode(data: bytes, where: str) -> tuple[pa.Table, Manifest]:
    """Rows and manifest of a partition's bytes. Raises DataError when they are damaged (checksum of every page)."""
    manifest = manifest_of(pa.BufferReader(data), where)
    try:
        table = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise damaged(where, error) from None
    return table.replace_schema_metadata(None), manifest


def damaged(where: str, error: BaseException) -> DataError:
    """The error of a file that cannot be read."""
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
    return DataError(f"{where}: damaged ({reason}); run 'tradebot data repair'")
