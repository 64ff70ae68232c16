"""Medians side by side, and their ratio to ours."""

import statistics


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, unit, values, goal="", more_is_better=False):
        """`values`: peer → list of measurements, ours first."""
        medians = {name: statistics.median(many) for name, many in values.items() if many}
        self.rows.append((what, unit, medians, goal, more_is_better))
        self.show(self.rows[-1])

    def show(self, row):
        what, unit, medians, goal, more_is_better = row
        print(f"\n{what}" + (f"  (goal: {goal})" if goal else ""))
        ours = next(iter(medians.values()), None)
        for name, value in medians.items():
            ratio = "" if ours in (None, 0) or value == 0 else (
                f"{ours / value:8.2f}x" if more_is_better else f"{value / ours:8.2f}x")
            print(f"  {name:<26}{value:>12.{2 if value < 100 else 0}f} {unit:<6}{ratio}", flush=True)

    def json(self):
        return [{"what": what, "unit": unit, "medians": medians} for what, unit, medians, _, _ in self.rows]
