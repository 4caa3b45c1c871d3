"""On which devices a training runs, and what it needs there."""

from .devices import DEVICES, Device
from .plan import Plan, PlanRow, plan

__all__ = ["DEVICES", "Device", "Plan", "PlanRow", "plan"]
