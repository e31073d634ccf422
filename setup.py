"""What setup.cfg cannot say: where mappings/ and docker-compose.yml, at the top here, are installed in `connector`."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithComposeFile(build_py):
    """Copies the compose file beside the module that uses it; an editable install reads it where it is."""

    def run(self) -> None:
        """Build the packages, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "connector" / "cluster" / "docker-compose.yml"
            self.copy_file("docker-compose.yml", str(target))


setup(
    packages=[*find_packages(include=["connector", "connector.*"]), "connector.mappings"],
    package_dir={"connector.mappings": "mappings"},
    cmdclass={"build_py": BuildWithComposeFile},
)
