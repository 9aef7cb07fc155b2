"""The catalogue: one rule per file."""

from backend.analysis.diagnostics.rule import Rule
from backend.analysis.diagnostics.rules import (
    b01_metric_zero,
    b02_constant_class,
    b03_trivial_loss,
    b04_input_unused,
    b05_divergence,
    b06_nonfinite,
    b07_overfitting,
    b08_learning_rate_high,
    b09_learning_rate_low,
    b10_vanishing_gradient,
    b11_exploding_gradient,
    b12_not_moving,
    b13_frozen_moving,
    b14_experts,
    b15_unsupported,
    b16_converged,
    b17_improving,
    b18_plateau,
    b19_not_evaluated,
    b20_evaluation_mismatch,
    d01_input_missing,
    d02_input_degenerate,
    d03_labels_and_heads,
    d04_imbalance,
    d05_events,
    d06_found_wrong,
    t01_no_proposals,
    t02_proposal_recall,
    t03_targets_lost,
    t04_untrained_head,
    t05_one_class_scored,
    t06_threshold_too_high,
    t07_short_tracks,
    t08_scored_wrong,
)

RULES: tuple[Rule, ...] = tuple(
    module.RULE
    for module in (
        d01_input_missing, d02_input_degenerate, d03_labels_and_heads, d04_imbalance, d05_events,
        d06_found_wrong,
        b01_metric_zero, b02_constant_class, b03_trivial_loss, b04_input_unused, b05_divergence,
        b06_nonfinite, b07_overfitting, b08_learning_rate_high, b09_learning_rate_low,
        b10_vanishing_gradient, b11_exploding_gradient, b12_not_moving, b13_frozen_moving,
        b14_experts, b15_unsupported, b16_converged, b17_improving, b18_plateau,
        b19_not_evaluated, b20_evaluation_mismatch,
        t01_no_proposals, t02_proposal_recall, t03_targets_lost, t04_untrained_head,
        t05_one_class_scored, t06_threshold_too_high, t07_short_tracks, t08_scored_wrong,
    )
)  # fmt: skip
"""In the order of the catalogue."""
