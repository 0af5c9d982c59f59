"""Who may call a server: keys, addresses, how often, and from which web pages."""

from typing import Annotated

from pydantic import Field

from voxraga_operator.api.common import DnsName, Part, atomic_list, rule, rules

Cidr = Annotated[
    str,
    Field(
        max_length=43,
        pattern=r"^[0-9A-Fa-f.:]+/(0|[1-9][0-9]{0,2})$",
        json_schema_extra=rules(
            rule(
                "isCIDR(self) && cidr(self).masked() == cidr(self)",
                "must be a CIDR whose address has no bits beyond the prefix, such as 10.0.0.0/8 or 2001:db8::/32",
            )
        ),
    ),
]
Origin = Annotated[
    str,
    Field(
        max_length=256,
        pattern=r"^https?://([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?$",
        json_schema_extra=rules(
            rule(
                "!(self.startsWith('https://') && self.endsWith(':443'))"
                " && !(self.startsWith('http://') && self.endsWith(':80'))",
                "must be an origin as browsers send it, which is without the scheme's own port",
            )
        ),
    ),
]


class ApiKeys(Part):
    """Keys that callers must bring."""

    secret_name: DnsName
    """Secret in the VoiceModel's namespace: each of its keys is a file with API keys, one a line; `#` begins a comment.
    It is mounted, never put into the environment; a change counts within two minutes, without a restart.
    """


class RateLimit(Part):
    """How often one caller may ask: by key, or by address where there is none."""

    requests_per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
    """Requests a minute in the long run, of one caller at one pod."""
    burst: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Requests at once."""


class Access(Part):
    """Who may call the server. Without any of it, whoever reaches the Service may."""

    api_keys: ApiKeys | None = None
    """Keys that callers must bring, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    public_listings: bool = True
    """Whether models and voices are listed without a key: many clients expect that."""
    cors: Annotated[tuple[Origin, ...], Field(max_length=64, json_schema_extra=atomic_list())] = ()
    """Origins of web pages that may call, exactly as browsers send them, such as "https://app.example.com"."""
    allowed_cidrs: Annotated[
        tuple[Cidr, ...], Field(alias="allowedCIDRs", max_length=64, json_schema_extra=atomic_list())
    ] = ()
    """Addresses that may call, such as "10.0.0.0/8"; all where none is listed."""
    trusted_proxies: Annotated[tuple[Cidr, ...], Field(max_length=64, json_schema_extra=atomic_list())] = ()
    """Addresses of the proxies whose X-Forwarded-For is believed. Behind a proxy that is not listed here, all callers
    count as one.
    """
    rate_limit: RateLimit | None = None
    """How often one caller may ask; as often as it likes where none is given."""
