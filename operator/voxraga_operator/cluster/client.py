"""Every call that the operator makes to the API server, on plain dicts; nothing else in the operator does I/O there."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from voxraga_operator.cluster import config
from voxraga_operator.cluster.errors import ApiError, from_response
from voxraga_operator.cluster.resources import resource
from voxraga_operator.plan.types import FIELD_MANAGER, STATUS_FIELD_MANAGER

Object = dict[str, Any]
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_TOO_MANY_REQUESTS = 429
# A short wait is spent here; a longer one goes to the queue, which has other objects to work on meanwhile.
_LONGEST_WAIT = 5.0
_ATTEMPTS = 3
_PAGE = 500


class Hooks(Protocol):
    def wrote(self, kind: str, verb: str) -> None: ...


class _NoHooks:
    def wrote(self, kind: str, verb: str) -> None: ...


class Cluster:
    def __init__(self, configuration: Configuration, *, timeout: float = 20.0, hooks: Hooks | None = None) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = "voxraga-operator"
        self._timeout = timeout
        self._hooks = hooks or _NoHooks()

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        *,
        timeout: float = 20.0,  # noqa: ASYNC109 - of each call
        hooks: Hooks | None = None,
    ) -> Self:
        return cls(await config.load(kubeconfig), timeout=timeout, hooks=hooks)

    async def close(self) -> None:
        await self._client.close()

    async def connection(self) -> config.Connection:
        return await config.connection(self._configuration)

    # --- reading ---

    async def get(self, kind: str, namespace: str, name: str, *, timeout: float | None = None) -> Object | None:  # noqa: ASYNC109
        try:
            return await self._call("GET", resource(kind).path(namespace, name), timeout=timeout)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def metadata(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object's metadata alone: that a Secret exists can be known without its content ever reaching us."""
        accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        try:
            return await self._call("GET", resource(kind).path(namespace, name), accept=accept)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind, in pages; items get the kind that the server leaves out in lists."""
        where = resource(kind)
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {"limit": str(_PAGE), **{name: selector for name, selector in selectors.items() if selector}}
        items: list[Object] = []
        while True:
            page = await self._call("GET", where.path(namespace), query=query)
            items += [{"apiVersion": where.api_version, "kind": where.kind, **item} for item in page.get("items") or []]
            following = page.get("metadata", {}).get("continue")
            if not following:
                return items
            query["continue"] = following

    async def api_groups(self) -> frozenset[str]:
        """The API groups that the server has: what optional children (KEDA, metrics) depend on."""
        answer = await self._call("GET", "/apis")
        return frozenset(group["name"] for group in answer.get("groups") or [])

    # --- writing ---

    async def apply(self, obj: Mapping[str, Any], *, manager: str = FIELD_MANAGER, subresource: str = "") -> Object:
        """Server-side apply, by force: what we own is ours, whoever else wrote to it."""
        metadata = obj["metadata"]
        where = resource(obj["kind"])
        answer = await self._call(
            "PATCH",
            where.path(metadata.get("namespace", ""), metadata["name"], subresource),
            query={"fieldManager": manager, "force": "true"},
            body=obj,
            content_type="application/apply-patch+yaml",
        )
        self._hooks.wrote(where.kind, "apply-status" if subresource else "apply")
        return answer

    async def apply_status(self, obj: Mapping[str, Any]) -> Object:
        return await self.apply(obj, manager=STATUS_FIELD_MANAGER, subresource="status")

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: str = "Background",
    ) -> bool:
        """Deletes the very object that was looked at, never a newer namesake; False where it is gone already."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        try:
            # A Job's pods are orphaned unless the propagation is said.
            path = resource(kind).path(namespace, name)
            await self._call("DELETE", path, body={**body, "propagationPolicy": propagation})
        except ApiError as error:
            if error.not_found:
                return False
            raise
        self._hooks.wrote(kind, "delete")
        return True

    async def create(self, obj: Mapping[str, Any], *, timeout: float | None = None) -> Object:  # noqa: ASYNC109
        where = resource(obj["kind"])
        path = where.path(obj["metadata"].get("namespace", ""))
        answer = await self._call("POST", path, query={"fieldManager": FIELD_MANAGER}, body=obj, timeout=timeout)
        self._hooks.wrote(where.kind, "create")
        return answer

    async def replace(self, obj: Mapping[str, Any], *, timeout: float | None = None) -> Object:  # noqa: ASYNC109
        """An update that fails with a conflict if the object has changed since it was read (its resourceVersion)."""
        metadata = obj["metadata"]
        where = resource(obj["kind"])
        path = where.path(metadata.get("namespace", ""), metadata["name"])
        answer = await self._call("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=obj, timeout=timeout)
        self._hooks.wrote(where.kind, "update")
        return answer

    async def merge(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
        where = resource(kind).path(namespace, name)
        return await self._patch(kind, where, patch, "application/merge-patch+json", FIELD_MANAGER)

    async def json_patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        patch: Sequence[Mapping[str, Any]],
        *,
        manager: str = FIELD_MANAGER,
    ) -> Object:
        where = resource(kind).path(namespace, name)
        return await self._patch(kind, where, patch, "application/json-patch+json", manager)

    async def _patch(self, kind: str, path: str, patch: Body, content_type: str, manager: str) -> Object:
        answer = await self._call("PATCH", path, query={"fieldManager": manager}, body=patch, content_type=content_type)
        self._hooks.wrote(resource(kind).kind, "patch")
        return answer

    # --- the wire ---

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float | None = None,  # noqa: ASYNC109 - aiohttp's own, which tells connecting from reading
    ) -> Object:
        what = f"{method} {path}"
        for attempt in range(1, _ATTEMPTS + 1):
            status, retry_after, content = await self._send(
                method, path, query=query, body=body, content_type=content_type, accept=accept, timeout=timeout
            )
            if status < 300:  # noqa: PLR2004
                answer: Object = json.loads(content) if content else {}
                return answer
            if status != _TOO_MANY_REQUESTS or retry_after > _LONGEST_WAIT or attempt == _ATTEMPTS:
                break
            await asyncio.sleep(max(retry_after, 0.1))
        raise from_response(status, content, what, retry_after)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Body | None,
        content_type: str,
        accept: str,
        timeout: float | None,  # noqa: ASYNC109
    ) -> tuple[int, float, bytes]:
        seconds = timeout or self._timeout
        request = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        limits = aiohttp.ClientTimeout(total=seconds, connect=min(5.0, seconds))
        try:
            response = await self._client.call_api(*request, _request_timeout=limits)
            content = await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            said = str(error) or type(error).__name__
            raise ApiError(0, "Unreachable", said, what=f"{method} {path}") from error
        return response.status, _seconds(response.getheader("Retry-After")), content


def _seconds(value: str | None) -> float:
    try:
        return max(0.0, float(value or 0.0))
    except ValueError:  # a date: the API server never sends one, a proxy may
        return 1.0
