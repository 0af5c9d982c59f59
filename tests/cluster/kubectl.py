"""Run kubectl against one kubeconfig."""

import subprocess
from pathlib import Path

from tests.cluster import binaries


class KubectlError(RuntimeError):
    """kubectl ended with an error; the text is what it said."""


class Kubectl:
    def __init__(
        self, kubeconfig: Path | None = None, *, context: str | None = None, program: str | None = None
    ) -> None:
        self.base = [program or str(binaries.path("kubectl"))]
        if kubeconfig:
            self.base += ["--kubeconfig", str(kubeconfig)]
        if context:
            self.base += ["--context", context]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        done = subprocess.run(
            [*self.base, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=timeout
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
