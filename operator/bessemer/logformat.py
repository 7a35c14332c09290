"""Formatting of log lines: they contain text from untrusted sources and are read in terminals."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from bessemer.foreign import make_line, make_text

MESSAGE_CHARACTERS = 8192
TRACE_CHARACTERS = 65536


class PrintableFormatter(logging.Formatter):
    """Formats each record as one printable line, so that a message can't forge a record or control a terminal.

    Tracebacks follow on indented lines, so that the text of an error can't be mistaken for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, followed by its traceback."""
        record.message = make_line(record.getMessage(), MESSAGE_CHARACTERS)
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        line = self.formatMessage(record)
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        stack = self.formatStack(record.stack_info) if record.stack_info else ""
        below = "\n".join(part for part in (trace, stack) if part)
        if not below:
            return line
        return line + "".join(f"\n  {part}" for part in make_text(below, TRACE_CHARACTERS).split("\n"))


class JsonFormatter(logging.Formatter):
    """One JSON object for each record, on one line of ASCII: time, level, logger, message, trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's object; ``trace`` is there where the record has an error or a stack."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": make_line(record.getMessage(), MESSAGE_CHARACTERS),
        }
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        stack = self.formatStack(record.stack_info) if record.stack_info else ""
        if below := "\n".join(part for part in (trace, stack) if part):
            found["trace"] = make_text(below, TRACE_CHARACTERS)
        return json.dumps(found)


def configure_logging(formatter: logging.Formatter, level: int = logging.INFO) -> None:
    """Write all records from this level on to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
