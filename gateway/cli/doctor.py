"""`fiveshot doctor`: what this machine lacks to run Fiveshot, and how to fix it. Changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil
import typer
from packaging.requirements import Requirement
from rich.text import Text

from gateway.cli import letters, output, tables
from gateway.cli.session import Session
from gateway.supervisor import servers
from gateway.supervisor.folder import DataFolder
from gateway.supervisor.ports import DEFAULT_LISTEN, port_is_free
from gateway.supervisor.run import running_state
from gateway.supervisor.servers import BinaryName

DEFAULT_PORT = int(DEFAULT_LISTEN.rpartition(":")[2])
_GIB = 1024**3
_NEEDED_MEMORY_GIB = 4
_NEEDED_DISK_GIB = 5
_BINARIES: tuple[tuple[BinaryName, str], ...] = (
    ("weed", "version"), ("nats-server", "--version"), ("envoy", "--version"),
)  # fmt: skip

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. level: ok, warn (it works, less well) or fail (it does not work)."""

    check: str
    level: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def doctor(ctx: typer.Context) -> None:
    """Check programs, packages, ports, disk, memory, GPU and fonts; exit code 1 when something is missing."""
    session: Session = ctx.obj
    checks: list[Callable[[], list[Finding]]] = [
        _python, _packages, _binaries, lambda: _data_folder(session.data), lambda: _port(session.data), _memory,
        _processor, _gpu, _base_model, _drawing,
    ]  # fmt: skip
    findings = [finding for check in checks for finding in check()]
    if session.json:
        output.print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _tell(finding)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(output.FAILED)


def _tell(finding: Finding) -> None:
    head = Text(f"{finding.level:<6}", style=_COLOURS[finding.level]).append(f"{finding.check:<20}", style="default")
    told = [*tables.in_lines(finding.found, output.out.width - len(head))]
    if finding.remedy:
        told += tables.in_lines(f"→ {finding.remedy}", output.out.width - len(head))
    margin = " " * len(head)
    for line in told:
        output.out.print(head.append(line, style="default"), soft_wrap=True)
        head = Text(margin)


def _python() -> list[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] == (3, 11)
    return [Finding("python", "ok" if good else "fail", found, "" if good else "Use Python 3.11: `make install`.")]


def _packages() -> list[Finding]:
    """Every requirement of the package and its extra `all` that is absent or of another version."""
    missing = []
    for text in importlib.metadata.requires("fiveshot") or []:
        requirement = Requirement(text)
        if requirement.name == "fiveshot" or not _wanted(requirement):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(f"{requirement.name}{requirement.specifier} (found {version})")
    if missing:
        return [Finding("packages", "fail", "missing: " + ", ".join(sorted(set(missing))), "Run `make install`.")]
    return [Finding("packages", "ok", "all there")]


def _wanted(requirement: Requirement) -> bool:
    if requirement.marker is None:
        return True
    extras = (
        "sql", "s3", "nats", "dataset", "tagger", "trainer", "registry", "notifier", "worker", "gateway", "cli",
        "embedded",
    )  # fmt: skip
    return any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


def _binaries() -> list[Finding]:
    findings = []
    for name, argument in _BINARIES:
        try:
            path = servers.binary(name)
            done = subprocess.run((str(path), argument), capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            remedy = f"Install fiveshot[embedded], or set FIVESHOT_BINARY_{name.upper().replace('-', '_')}."
            findings.append(Finding(name, "fail", str(error).splitlines()[0], remedy))
            continue
        lines = (done.stdout + done.stderr).strip().splitlines()
        findings.append(Finding(name, "ok", lines[0][:80] if lines else str(path)))
    return findings


def _data_folder(data: Path) -> list[Finding]:
    folder = data.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return [Finding("data folder", "fail", f"{folder} is not writable", "Choose another with FIVESHOT_DATA.")]
    try:
        servers.check_room(folder)
    except servers.DiskFullError as error:
        found, _, remedy = str(error).partition(". ")
        return [Finding("data folder", "fail", found, remedy)]
    free = shutil.disk_usage(existing).free / _GIB
    level: Literal["ok", "warn"] = "ok" if free >= _NEEDED_DISK_GIB else "warn"
    remedy = "" if level == "ok" else "Free some space, or choose another disk with FIVESHOT_DATA."
    return [Finding("data folder", level, f"{folder}, {free:.0f} GiB free", remedy)]


def _port(data: Path) -> list[Finding]:
    state = running_state(DataFolder(data))
    if state is not None:
        return [Finding("stack", "ok", f"{state.state} on {state.server}")]
    if port_is_free(DEFAULT_PORT):
        return [Finding(f"port {DEFAULT_PORT}", "ok", "free")]
    remedy = "`fiveshot up` takes another; or set FIVESHOT_LISTEN=127.0.0.1:PORT."
    return [Finding(f"port {DEFAULT_PORT}", "warn", "in use", remedy)]


def _memory() -> list[Finding]:
    free = psutil.virtual_memory().available / _GIB
    good = free >= _NEEDED_MEMORY_GIB
    remedy = "" if good else f"The stack with a worker needs up to {_NEEDED_MEMORY_GIB} GiB; close other programs."
    return [Finding("memory", "ok" if good else "warn", f"{free:.1f} GiB available", remedy)]


def _processor() -> list[Finding]:
    cores = os.cpu_count() or 1
    remedy = "" if cores >= 2 else "Training and the services share one core; expect twice the time."
    return [Finding("processor", "ok" if cores >= 2 else "warn", f"{cores} cores", remedy)]


def _gpu() -> list[Finding]:
    """Looks with nvidia-smi and at the torch package's version, without loading torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [Finding("gpu", "ok", "none; fiveshot-tiny trains on the CPU")]
    query = (program, "--query-gpu=name,memory.total", "--format=csv,noheader")
    done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        return [Finding("gpu", "warn", "nvidia-smi fails", "Check the driver; until then the worker uses the CPU.")]
    name = done.stdout.strip().splitlines()[0] if done.stdout.strip() else "unknown"
    if importlib.util.find_spec("torch") and "+cpu" in importlib.metadata.version("torch"):
        return [Finding("gpu", "warn", f"{name}, but torch is the CPU build", "Install the CUDA build of torch.")]
    return [Finding("gpu", "ok", name)]


def _base_model() -> list[Finding]:
    spec = importlib.util.find_spec("services.trainer.recipe")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in (Path(folder) / "base_models").glob("*/model_index.json")]
    if found:
        return [Finding("base models", "ok", ", ".join(sorted(path.parent.name for path in found)))]
    return [Finding("base models", "fail", "none is installed", "Install the package again, or run `make pretrain`.")]


def _drawing() -> list[Finding]:
    """Sheets need Pillow with FreeType, and for names and prompts in other scripts a font that has them."""
    from PIL import features

    if not features.check("freetype2"):
        return [
            Finding("fonts", "fail", "Pillow lacks FreeType", "Install Pillow from its wheel: `pip install pillow`.")
        ]
    if missing := letters.scripts_without_letters():
        return [
            Finding(
                "fonts", "warn", f"no {', '.join(missing)} letters: sheets show ? for them",
                "Where your names or prompts use them, install a font that has them: `apt install fonts-noto-cjk`.",
            )
        ]  # fmt: skip
    return [Finding("fonts", "ok", "letters of every common script")]
