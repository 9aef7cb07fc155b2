"""Routed experts in plain torch: the router, grouped dispatch, and what shows who does what."""

from backend.nn.moe.affinity import AffinityTotals, size_bins
from backend.nn.moe.class_losses import ClassLosses, LossSettings, class_losses, group_matrix
from backend.nn.moe.experts import Experts, RoutedExperts
from backend.nn.moe.routing import Router, Routing, load_balance_loss, route, z_loss
from backend.nn.moe.statistics import RouterTotals, router_statistics

__all__ = [
    "AffinityTotals",
    "ClassLosses",
    "Experts",
    "LossSettings",
    "RoutedExperts",
    "Router",
    "RouterTotals",
    "Routing",
    "class_losses",
    "group_matrix",
    "load_balance_loss",
    "route",
    "router_statistics",
    "size_bins",
    "z_loss",
]
