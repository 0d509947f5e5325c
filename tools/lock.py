"""Prints the versions installed in this environment, as a pip constraints file."""

from __future__ import annotations

from importlib.metadata import distributions


def main() -> None:
    versions = {dist.name.lower(): dist.version.split("+")[0] for dist in distributions()}
    for name in sorted(versions):
        if name not in {"pip", "setuptools", "fiveshot", "fiveshot-client"}:
            print(f"{name}=={versions[name]}")


if __name__ == "__main__":
    main()
