"""Lines of our logs: what others wrote is in them, and they are read in terminals."""

from __future__ import annotations

import logging
import sys

from bessemer.foreign import make_line, make_text

MESSAGE_CHARACTERS = 8192
TRACE_CHARACTERS = 65536


class PrintableFormatter(logging.Formatter):
    """One line for each record, printable, so that no message can forge a record or steer a terminal.

    Tracebacks follow on lines of their own, indented, so that no error's text is taken for a record either.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and its traceback."""
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


def configure_logging(pattern: str) -> None:
    """Write all records to the standard output in this form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(PrintableFormatter(pattern))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
