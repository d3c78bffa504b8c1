"""PromQL in few words. Sums over instances: a pod that is replaced goes on in the same line."""

from __future__ import annotations

RATE = "$__rate_interval"


def most(metric: str, *by: str) -> str:
    """Of what the operator tells: whoever leads does, and while that changes both may stand in Prometheus."""
    return f"max by ({', '.join(by)}) ({metric})"


def per_second(metric: str, *by: str) -> str:
    """Of a counter."""
    return f"sum by ({', '.join(by)}) (rate({metric}[{RATE}]))" if by else f"sum(rate({metric}[{RATE}]))"


def quantile(q: float, metric: str, *by: str) -> str:
    """Of a histogram's `_bucket`."""
    return f"histogram_quantile({q}, sum by ({', '.join(('le', *by))}) (rate({metric}[{RATE}])))"


def only(metric: str, of: str) -> str:
    """Of what every process tells by the same name: that of the processes that tell `of`, too."""
    return f"{metric} and on (instance) {of}"


def rate(metric: str, *by: str, of: str) -> str:
    """Per second, of the processes that tell `of`."""
    return f"sum by ({', '.join(by)}) ({only(f'rate({metric}[{RATE}])', of)})"
