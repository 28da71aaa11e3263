"""Put on PYTHONPATH by tests: every Python process of a build then meets one file whose decoding kills or waits.

DECODE_HOOK is `kill NAME` (the process dies when it decodes a file of that name) or `wait NAME GATE` (it waits there
until the file GATE exists).
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

if "DECODE_HOOK" in os.environ:
    from expedition.data.sources import read

    what, name, *gate = os.environ["DECODE_HOOK"].split(" ")
    plain = read._item_pieces

    def hooked(source: Any, item: Any, rules: Any) -> Any:
        if item.path == name and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        while item.path == name and not os.path.exists(gate[0]):
            time.sleep(0.02)
        return plain(source, item, rules)

    read._item_pieces = hooked
