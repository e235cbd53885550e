"""The dashboards are generated on Python 3.11 or newer: grafana-foundation-sdk needs it. What ships is the JSON."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.version_info < (3, 11) else []
