"""Reading only some types of records, without decoding the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tradebot.events import Record
from tradebot.journal.frames import JournalRecord, decode_record
from tradebot.journal.reader import JournalReader

_KEY = b"\xa4type"
"""The field name that starts every record's msgpack map, after a map header of one or three bytes."""


def pick(
    reader: JournalReader, epoch: int, types: Iterable[type[Record]], *, after: int = 0
) -> Iterator[tuple[int, JournalRecord]]:
    """``(ts_ms, record)`` of ``epoch`` behind record ``after`` whose record is one of ``types``, in order.

    Most of a journal is market data; finding the few thousand records of orders among millions this way takes a
    fraction of decoding all of them. Raises JournalError as the reader does.
    """
    wanted = {str(kind.__struct_config__.tag).encode() for kind in types}
    for frame in reader.raw_frames(epoch, after=after):
        payload = frame.payload
        at = payload.find(_KEY, 1, 3 + len(_KEY)) + len(_KEY)
        tag = payload[at + 1 : at + 1 + (payload[at] & 0x1F)]
        if tag in wanted:
            yield frame.ts_ms, decode_record(payload)
