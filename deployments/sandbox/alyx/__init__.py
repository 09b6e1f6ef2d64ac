"""An Alyx-shaped REST API."""

from deployments.sandbox.alyx.gate import Accounts, Throttle
from deployments.sandbox.alyx.server import Alyx

__all__ = ["Accounts", "Alyx", "Throttle"]
