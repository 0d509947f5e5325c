"""Renders deploy/helm into deploy/k8s with Helm's own engine, so that `kubectl apply -k` needs no Helm.

    make helm                                           write deploy/k8s/dev/suite and deploy/k8s/prod/suite
    .venv-helm/bin/python -m tools.helm_chart check     fail if they differ from the chart
    .venv-helm/bin/python -m tools.helm_chart try FILE  for tests: values in, {manifests, lint} or {error} out

It runs in an environment of its own (`.venv-helm`), which has helm-python-sdk and nothing of Fiveshot's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from helm_python.chart import Chart, lint, values_from_yaml
from helm_python.errors import HelmError

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm"
RENDERED = {name: ROOT / "deploy" / "k8s" / name / "suite" for name in ("dev", "prod")}
RELEASE, NAMESPACE = "fiveshot", "fiveshot"
_FIRST_LINE = "# Rendered from deploy/helm by `make helm`; change the chart, not this file.\n"


def manifests(chart: Chart, values: dict[str, Any]) -> dict[str, str]:
    """What the chart gives with these values: name of a template → YAML; HelmError where they fail the schema."""
    chart.validate_schema(values)
    found = {}
    for path, text in chart.render(values, name=RELEASE, namespace=NAMESPACE).items():
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        if body:
            found[Path(path).name] = body.removeprefix("---\n") + "\n"
    return found


def folder_of(name: str) -> dict[str, str]:
    """The files of a rendered folder, as the chart wants them: name → text."""
    values = values_from_yaml((CHART / f"{name}.yaml").read_text(encoding="utf-8"))
    with Chart.load(CHART) as chart:
        files = {file: text for file, text in manifests(chart, values).items() if file.endswith(".yaml")}
    listed = "".join(f"  - {file}\n" for file in sorted(files))
    head = f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{listed}"
    return {file: _FIRST_LINE + text for file, text in (files | {"kustomization.yaml": head}).items()}


def differing() -> list[str]:
    """Paths of rendered files that aren't what the chart gives, those that it doesn't give included."""
    found = []
    for name, folder in RENDERED.items():
        wanted = folder_of(name)
        there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
        files = sorted(file for file in wanted.keys() | there.keys() if wanted.get(file) != there.get(file))
        found += [(folder / file).relative_to(ROOT).as_posix() for file in files]
    return found


def write() -> None:
    for name, folder in RENDERED.items():
        wanted = folder_of(name)
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*"):
            if path.name not in wanted:
                path.unlink()
        for file, text in wanted.items():
            (folder / file).write_text(text, encoding="utf-8")


def tried(values: dict[str, Any]) -> dict[str, Any]:
    """The manifests of these values and what `helm lint --strict` finds, or the error that stops them."""
    try:
        with Chart.load(CHART) as chart:
            found = manifests(chart, values)
        report = lint(CHART, values, strict=True)
    except HelmError as error:
        return {"error": str(error)}
    return {"manifests": found, "lint": [each["error"] for each in report["messages"] if each["severity"] > 1]}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.helm_chart", description="Renders deploy/helm into deploy/k8s."
    )
    parser.add_argument("what", choices=["write", "check", "try"])
    parser.add_argument("file", nargs="?", type=Path, help="for try: a JSON list of values")
    given = parser.parse_args()
    if given.what == "try":
        cases = json.loads(given.file.read_text(encoding="utf-8"))
        json.dump([tried(values) for values in cases], sys.stdout)
        return 0
    if given.what == "write":
        write()
    if stale := differing():
        print("not what the chart gives; run make helm:", *stale, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
