"""Prints the versions of what pyproject.toml names, in the environment that runs this."""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

print(f"Python {sys.version.split()[0]}, frontrunner with:")
for wanted in sorted({line.split(";")[0].strip() for line in requires("frontrunner") or []}, key=str.lower):
    name = re.split(r"[\[<>=!~ ]", wanted)[0]
    try:
        print(f"  {name} {version(name)}  ({wanted})")
    except PackageNotFoundError:
        continue
