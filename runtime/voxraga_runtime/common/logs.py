"""JSON logging for every runtime process: one object a line on stdout, the standard library's loggers included."""

import logging
import logging.config
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")
QUIET = ("httpx", "httpcore", "asyncio", "numba", "matplotlib", "fsspec")  # chatty at info, useful at warning


def setup(level: str = "info") -> None:
    """Send structlog and the standard library's logging to stdout as JSON with `level`, `module` and `exception`.

    `level` is a name of the standard library's, in any case. Raises ValueError when it is none.
    """
    name = level.upper()
    if name not in logging.getLevelNamesMapping():
        raise ValueError(f"no log level: {level}")
    logging.config.dictConfig(_config(name))
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a logger made before setup() follows it
    )


def uvicorn_config() -> dict[str, Any]:
    """`log_config` for uvicorn.run: leaves uvicorn's own handlers out, so that its lines pass through ours."""
    return {"version": 1, "disable_existing_loggers": False, "loggers": _uvicorn_loggers()}


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_module,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]


def _add_module(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event.setdefault("module", record.name if record is not None else getattr(logger, "name", ""))
    return event


def _uvicorn_loggers() -> dict[str, Any]:
    return {name: {"handlers": [], "propagate": True} for name in UVICORN}


def _config(level: str) -> dict[str, Any]:
    quiet: dict[str, Any] = {name: {"level": "WARNING"} for name in QUIET} if level != "DEBUG" else {}
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
        "foreign_pre_chain": _shared(),
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": formatter},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": _uvicorn_loggers() | quiet,
    }
