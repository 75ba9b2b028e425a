"""A search space in which everything depends on something: derived, auxiliary and conditional parameters."""

RULES = {
    "rank": "range(1, 16)",
    "ratio": "tag(auxiliary, interval(0.5, 4))",
    "alpha": "derive(round(ratio * rank))",
    "optimizer": "choice(adamw, sgd)",
    "momentum": "interval(0, 1)",
    "conditions": {"momentum": "optimizer == 'sgd'"},
    "constraints": ["rank + alpha <= 20"],
}
