"""Entry of the command ``bessemer``, of ``kubectl bessemer`` and of ``python -m bessemer``."""

from __future__ import annotations

from bessemer.cli.app import complete_for_kubectl, main

__all__ = ["complete_for_kubectl", "main"]

if __name__ == "__main__":
    main()
