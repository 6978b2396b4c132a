"""Packaging. Everything that tools read lives in pyproject.toml; what pip installs is here."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "([^"]+)"', (here / "gostpy/__init__.py").read_text())[1]

# protocols whose libraries only some users need
extras = {
    "dtls": ["pyOpenSSL>=25"],
    "kcp": ["cramjam>=2.9", "pycryptodomex>=3.20"],
    "quic": ["aioquic>=1.7,<1.8"],
    "serial": ["pyserial>=3.5"],
    "ss2022": ["blake3>=1.0"],
    "ssh": ["bcrypt>=4"],
    "utls": ["utls>=2026.10"],
}
extras["all"] = sorted({requirement for group in extras.values() for requirement in group})
extras["test"] = [
    *extras["all"],
    "hypothesis>=6",
    "mypy>=1.10",
    "pytest>=8",
    "pytest-timeout>=2",
    "qh3>=2",
    "ruff>=0.6",
]

setup(
    name="gostpy",
    version=version,
    description="Tunnel and proxy program, a drop-in replacement for gost v3",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["gostpy", "gostpy.*", "compat", "compat.*"]),
    package_data={"gostpy": ["py.typed"]},
    zip_safe=False,
    install_requires=[
        "gevent>=24.10",
        "gevent-websocket>=0.10.1",
        "greenlet>=3",
        "hpack>=4.1",
        "pybase64>=1.4",
        "cryptography>=47",
        "PyNaCl>=1.5",
        "ruamel.yaml>=0.18",
        "dnspython>=2.6",
        "websockets>=13",
    ],
    extras_require=extras,
    entry_points={"console_scripts": ["gostpy = gostpy.__main__:main"]},
    classifiers=[
        "Environment :: Console",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Internet :: Proxy Servers",
    ],
)
