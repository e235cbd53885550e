"""What pyproject.toml cannot say: a wheel has a copy of the deployment files, which are in the repository once."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = Path("yoloscope_exporter", "bundle")
SHIPPED = runpy.run_path(str(ROOT / "exporter" / PACKAGE / "shipped.py"))


class BuildWithDeployment(build_py):
    """Copies them beside the module that reads them."""

    def run(self) -> None:
        """Build the packages, then copy; an editable installation reads the repository itself."""
        super().run()
        if self.editable_mode:
            return
        for path in SHIPPED["paths"](ROOT):
            target = Path(self.build_lib) / PACKAGE / SHIPPED["FOLDER"] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)

    def get_source_files(self) -> list[str]:
        """A source distribution has them, too."""
        return [*super().get_source_files(), *SHIPPED["paths"](ROOT)]


setup(cmdclass={"build_py": BuildWithDeployment})
