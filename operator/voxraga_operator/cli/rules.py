"""The CRD's CEL rules, each with a twin in Python, found by its very expression."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from voxraga_operator import quantity
from voxraga_operator.api.common import seconds

Predicate = Callable[[Any], bool]


def twin(expression: str) -> Predicate | None:
    """Whether a value keeps the rule; None for a rule that is not known here, so that it can be named as unchecked."""
    for form, make in _TWINS:
        found = form.fullmatch(expression)
        if found:
            return make(found)
    return None


def is_transition(expression: str) -> bool:
    """A rule about a change: a file has nothing before it."""
    return "oldSelf" in expression


def _exactly_one(found: re.Match[str]) -> Predicate:
    names = re.findall(r"has\(self\.(\w+)\)", found[0])
    return lambda value: sum(name in value for name in names) == 1


def _not_both(found: re.Match[str]) -> Predicate:
    return lambda value: not (found["one"] in value and found["other"] in value)


def _prefix_free(found: re.Match[str]) -> Predicate:
    return lambda value: not value.startswith(found["prefix"])


def _keys_prefix_free(found: re.Match[str]) -> Predicate:
    prefixes = tuple(re.findall(r"startsWith\('([^']+)'\)", found[0]))
    return lambda value: not any(key.startswith(prefixes) for key in value)


def _between(found: re.Match[str]) -> Predicate:
    return lambda value: seconds(found["least"]) <= seconds(value) <= seconds(found["most"])


def _relative(_: re.Match[str]) -> Predicate:
    return lambda value: not re.search(r"(^|/)[.]{0,2}(/|\Z)", value) and "\\" not in value


def _above_zero(_: re.Match[str]) -> Predicate:
    return lambda value: (quantity.parse(value) or 0) > 0


def _ordered(found: re.Match[str]) -> Predicate:
    return lambda value: bool(value[found["low"]] <= value[found["high"]])


def _within_limits(found: re.Match[str]) -> Predicate:
    name = found["resource"]

    def holds(value: Any) -> bool:
        request, limit = (quantity.parse(value.get(group, {}).get(name)) for group in ("requests", "limits"))
        return request is None or limit is None or request <= limit

    return holds


def _quantity_between(found: re.Match[str]) -> Predicate:
    least, most = (quantity.parse(found[name]) or 0 for name in ("least", "most"))
    return lambda value: least <= (quantity.parse(value) or 0) <= most


def _cidr(_: re.Match[str]) -> Predicate:
    def holds(value: str) -> bool:
        try:
            network = ipaddress.ip_network(value)
        except ValueError:
            return False
        # As the API server: an IPv4 network is written as such.
        return isinstance(network, ipaddress.IPv4Network) or network.network_address.ipv4_mapped is None

    return holds


def _without_its_own_port(_: re.Match[str]) -> Predicate:
    return lambda value: re.search(r"\A(https:.*:443|http:.*:80)\Z", value) is None


def _words_no_longer(found: re.Match[str]) -> Predicate:
    return lambda value: all(0 < len(word) <= int(found["most"]) for word in value)


def _sources_of_the_task(_: re.Match[str]) -> Predicate:
    return lambda spec: spec["task"] != "SpeechToText" or not {"catalog", "builtin"} & spec["source"].keys()


def _hears_only(_: re.Match[str]) -> Predicate:
    def holds(spec: Any) -> bool:
        serving = spec["serving"]
        return spec["task"] != "SpeechToText" or not (serving["wyoming"]["enabled"] or serving["uploads"]["enabled"])

    return holds


def _ports_differ(_: re.Match[str]) -> Predicate:
    def holds(spec: Any) -> bool:
        wyoming = spec["serving"]["wyoming"]
        return not wyoming["enabled"] or wyoming["port"] not in (8080, spec["service"]["port"])

    return holds


def _preload_leaves_room(found: re.Match[str]) -> Predicate:
    return lambda models: len(models.get("preload", ())) < models.get("maxLoaded", int(found["otherwise"]))


def _preload_needs_uploads(_: re.Match[str]) -> Predicate:
    return lambda serving: not serving.get("models", {}).get("preload") or serving["uploads"]["enabled"]


def _uploads_need_keys(_: re.Match[str]) -> Predicate:
    return lambda spec: not spec["serving"]["uploads"]["enabled"] or "apiKeys" in spec["access"]


def _named(found: re.Match[str]) -> Predicate:
    def holds(value: Any) -> bool:
        name = str(value["metadata"]["name"])
        return len(name) <= int(found["most"]) and re.search(_python(found["pattern"]), name) is not None

    return holds


def _python(pattern: str) -> str:
    """RE2's `$` is the very end; Python's would let a newline follow."""
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


_HAS = r"has\(self\.\w+\)"
_FIRST_LIMITS = rf"{_HAS} && '(?P<resource>[^']+)' in self\.limits"
_THEN_REQUESTS = rf"{_HAS} && '(?P=resource)' in self\.requests"
_REQUESTED, _LIMITED = (rf"quantity\(string\(self\.{group}\['(?P=resource)'\]\)\)" for group in ("requests", "limits"))

_COMPARED = r"quantity\(string\(self\)\)\.compareTo\(quantity"

_TWINS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Predicate]], ...] = tuple(
    (re.compile(form), make)
    for form, make in (
        (rf"\[{_HAS}(, {_HAS})*\]\.filter\(given, given\)\.size\(\) == 1", _exactly_one),
        (r"!\(has\(self\.(?P<one>\w+)\) && has\(self\.(?P<other>\w+)\)\)", _not_both),
        (r"!self\.startsWith\('(?P<prefix>[^']+)'\)", _prefix_free),
        (r"self\.all\(key, !key\.startsWith\('[^']+'\)( && !key\.startsWith\('[^']+'\))*\)", _keys_prefix_free),
        (
            r"duration\(self\) >= duration\('(?P<least>[^']+)'\) && duration\(self\) <= duration\('(?P<most>[^']+)'\)",
            _between,
        ),
        (re.escape(r"!self.matches('(^|/)[.]{0,2}(/|$)') && !self.contains('\\')"), _relative),
        (re.escape("quantity(self).isGreaterThan(quantity('0'))"), _above_zero),
        (
            rf"{_COMPARED}\('(?P<least>[^']+)'\)\) >= 0 && {_COMPARED}\('(?P<most>[^']+)'\)\) <= 0",
            _quantity_between,
        ),
        (re.escape("isCIDR(self) && cidr(self).masked() == cidr(self)"), _cidr),
        (
            re.escape(
                "!(self.startsWith('https://') && self.endsWith(':443'))"
                " && !(self.startsWith('http://') && self.endsWith(':80'))"
            ),
            _without_its_own_port,
        ),
        (r"self\.all\(word, size\(word\) > 0 && size\(word\) <= (?P<most>\d+)\)", _words_no_longer),
        (
            re.escape("self.task != 'SpeechToText' || !(has(self.source.catalog) || has(self.source.builtin))"),
            _sources_of_the_task,
        ),
        (
            re.escape("self.task != 'SpeechToText' || !(self.serving.wyoming.enabled || self.serving.uploads.enabled)"),
            _hears_only,
        ),
        (
            re.escape("!self.serving.wyoming.enabled || !(self.serving.wyoming.port in [8080, self.service.port])"),
            _ports_differ,
        ),
        (
            rf"!{_HAS} \|\| size\(self\.preload\) < \({_HAS} \? self\.maxLoaded : (?P<otherwise>\d+)\)",
            _preload_leaves_room,
        ),
        (
            re.escape(
                "!has(self.models) || !has(self.models.preload) || size(self.models.preload) == 0"
                " || self.uploads.enabled"
            ),
            _preload_needs_uploads,
        ),
        (re.escape("!self.serving.uploads.enabled || has(self.access.apiKeys)"), _uploads_need_keys),
        (r"self\.(?P<low>\w+) <= self\.(?P<high>\w+)", _ordered),
        (
            rf"!\({_FIRST_LIMITS} && {_THEN_REQUESTS}\) \|\| {_REQUESTED}\.compareTo\({_LIMITED}\) <= 0",
            _within_limits,
        ),
        (
            r"size\(self\.metadata\.name\) <= (?P<most>\d+) && self\.metadata\.name\.matches\('(?P<pattern>[^']+)'\)",
            _named,
        ),
    )
)
