"""The commands as users type them: arguments, options, help.

Modules of this package are imported for ``bessemer --help``; so a command imports what it works with only when it is
called.
"""
