"""Are there known vulnerabilities in what is installed? `make audit` calls it.

Where the list of vulnerabilities cannot be reached one line says so, and nothing fails: a check that cannot be made is
no reason to stop. A vulnerability that does not concern us stands in pyproject.toml with the reason.
"""

# ruff: noqa: T201

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
PATIENCE = 300  # seconds


def main() -> None:
    told = asked()
    audited = [package for package in told if "skip_reason" not in package]
    if not audited:
        print("  not done: no list of known vulnerabilities could be reached from here")
        return
    accepted = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["audit"]["accepted"]
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'none'}"
        for package in audited
        for fault in package["vulns"]
        if not {fault["id"], *fault["aliases"]} & accepted.keys()
    ]
    if len(audited) < len(told) // 2:
        print(f"  of {len(told)} packages only {len(audited)} are known to the list that could be reached")
    if found:
        print(*found, sep="\n")
        sys.exit("Update them, or say in pyproject.toml ([tool.audit.accepted]) why they do no harm here.")


def asked() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]
    try:
        ran = subprocess.run([*command, "--timeout", "10"], capture_output=True, text=True, timeout=PATIENCE)
        told: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
        return told
    except (subprocess.TimeoutExpired, ValueError, LookupError):
        return []


if __name__ == "__main__":
    main()
