"""The cluster's certificates and kubeconfigs, made by openssl (3.0 or newer)."""

import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")  # made in milliseconds, RSA is not


class Pki:
    """One certificate authority in a directory. Short-lived and local, so client and server trust the same one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.crt"
        self.ca_key = directory / "ca.key"
        self.sa_key = directory / "sa.key"
        self.sa_pub = directory / "sa.pub"

    def create(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _openssl(
            "req", "-x509", *_NEW_KEY, "-days", "3650", "-subj", "/CN=voxraga-test-ca",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            "-keyout", self.ca_key, "-out", self.ca,
        )  # fmt: skip
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.sa_key)
        _openssl("ec", "-in", self.sa_key, "-pubout", "-out", self.sa_pub)

    def certificate(self, name: str, *, user: str, group: str = "", hosts: Iterable[str] = ()) -> None:
        """Write NAME.crt and NAME.key for a user (and group), and for a server when it has hosts."""
        extensions = ["-addext", "extendedKeyUsage=clientAuth,serverAuth", "-addext", "basicConstraints=CA:FALSE"]
        if names := ",".join(_alternative(host) for host in hosts):
            extensions += ["-addext", f"subjectAltName={names}"]
        _openssl(
            "req", "-x509", *_NEW_KEY, "-days", "3650", *extensions,
            "-subj", (f"/O={group}" if group else "") + f"/CN={user}",
            "-CA", self.ca, "-CAkey", self.ca_key,
            "-keyout", self.key(name), "-out", self.crt(name),
        )  # fmt: skip

    def crt(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def kubeconfig(self, name: str, server: str, *, to: Path | None = None) -> Path:
        """A kubeconfig with everything inside, so that it can be copied and its directory may go."""
        file = to or self.directory / f"{name}.kubeconfig"
        data = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [_named("cluster", {"server": server, "certificate-authority-data": _base64(self.ca)})],
            "users": [
                _named(
                    "user",
                    {
                        "client-certificate-data": _base64(self.crt(name)),
                        "client-key-data": _base64(self.key(name)),
                    },
                )
            ],
            "contexts": [_named("context", {"cluster": "voxraga-test", "user": "voxraga-test"})],
            "current-context": "voxraga-test",
        }
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(data, sort_keys=False))
        return file


def _named(kind: str, value: dict[str, str]) -> dict[str, object]:
    return {"name": "voxraga-test", kind: value}


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _alternative(host: str) -> str:
    return f"{'IP' if host.replace('.', '').isdigit() else 'DNS'}:{host}"


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
