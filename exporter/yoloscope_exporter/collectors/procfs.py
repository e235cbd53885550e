"""Points psutil at the node's /proc, and turns missing sources into NoData."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from yoloscope_exporter.collectors import NoData
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def point_psutil(procfs: Path) -> None:
    """Let psutil read this /proc, from now on and everywhere in this process: psutil has one path for all.

    Every collector that asks psutil says it when it is built, for none knows of the others. They all say the same: an
    exporter has one `--path.procfs` as long as it lives.
    """
    if psutil.LINUX:
        psutil.PROCFS_PATH = str(procfs)


@contextmanager
def no_data_if_missing() -> Iterator[None]:
    """Turn a source that this machine does not have into NoData.

    Raises:
        NoData: the file is not there, or psutil does not have this on this platform.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoData(text("{path} is not there", path=error.filename)) from error
    except NotImplementedError as error:
        raise NoData(str(error) or text("psutil cannot tell it on this platform")) from error
