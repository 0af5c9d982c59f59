"""How to reach the API server: from inside a pod, or by a kubeconfig."""

import os
from dataclasses import dataclass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)


@dataclass(frozen=True)
class Connection:
    """What a second client (the informer) needs for the same server and the same identity."""

    server: str
    ca_path: str | None
    insecure: bool
    certificate_path: str | None
    private_key_path: str | None
    authorization: str | None

    def __repr__(self) -> str:  # never the token
        return f"Connection({self.server})"


def in_cluster() -> bool:
    return SERVICE_HOST_ENV_NAME in os.environ


async def load(kubeconfig: str | None = None) -> Configuration:
    """The service account's, its token re-read each minute; a kubeconfig's where one is named or we are in no pod."""
    configuration = Configuration()
    if kubeconfig is None and in_cluster():
        loader = InClusterConfigLoader(SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME)
        loader.load_and_set(configuration)
    else:
        await load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
    return configuration


async def connection(configuration: Configuration) -> Connection:
    """The present credentials; asking again later gives the token that is valid then."""
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        authorization=await configuration.get_api_key_with_prefix("BearerToken"),
    )
