"""What setup.cfg cannot say: mappings/ lies at the top of the repository and is installed inside of `connector`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["connector", "connector.*"]), "connector.mappings"],
    package_dir={"connector.mappings": "mappings"},
)
