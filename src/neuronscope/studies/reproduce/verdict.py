"""What a run comes to, for the method under study beside random neurons; tables, JSON and page begin with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Rows: TypeAlias = Mapping[str, Mapping[str, Any]]

#: Ablation -> what was done to the neurons; anything else is noise.
_DONE: Mapping[str, str] = {
    "zero": "without them",
    "mean": "with them at their mean activation",
    "patch": "with them as without the object",
}


def verdict(found: Mapping[str, Any]) -> str:
    """How many captions no longer name their concept with a method's neurons changed, and with random ones.

    Told are the first conditions that both the method and random neurons have, else the first that the method has.
    Where several methods choose at random, the one that does most counts.

    Args:
        found: of a run's document `methods`, `reference`, `controls`, `unfinished`, and where they are there `sizes`,
            `table_2` and `differences`.
    """
    left = "The run is not finished. " if found["unfinished"] else ""
    method = found["reference"] or next((name for name in found["methods"] if name not in found["controls"]), None)
    if method is None:
        return f"{left}The run has random neurons only: there is no method that they could be compared with."
    return f"{left}{_sets(found, method)}{_told(found, method)}"


def _sets(found: Mapping[str, Any], method: str) -> str:
    """How many neurons a method found."""
    row: Mapping[str, Any] = found.get("sizes", {}).get(method) or {"samples": 0}
    if not row["samples"]:
        refused = row.get("refused")
        return f"{method} refused every sample. " if refused else ""
    if row["empty"] == row["samples"]:
        return f"{method} found no neurons in {_counted(row['samples'], 'sample')}. "
    mean = row["mean"]
    size = f"{mean:.0f} neurons" if mean >= 1.5 else "1 neuron" if mean >= 1 else "less than 1 neuron"
    return f"{method} found {size} per sample on average. "


def _told(found: Mapping[str, Any], method: str) -> str:
    scopes: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in found.get("table_2", {}).get("means", ()):
        scopes.setdefault(row["scope"], {})[row["method"]] = row
    ours = {name: rows for name, rows in scopes.items() if method in rows}
    if not ours:
        return f"No captions with its neurons changed are {'finished' if found['unfinished'] else 'there'}."
    scope = next((name for name, rows in ours.items() if _control(rows, found["controls"])), next(iter(ours)))
    rows = ours[scope]
    own, control = rows[method], _control(rows, found["controls"])
    done = _DONE.get(scope, "with noise on them")
    beside, other = "", ""
    if control is not None:
        beside = f", with random ones {_percent(rows[control]['s_se'])}"
        other = f" (with random ones {_percent(rows[control]['s_re'])})"
    return (
        f"{done[0].upper()}{done[1:]} {_percent(own['s_se'])} of the captions no longer name their concept"
        f"{beside}; {_percent(own['s_re'])} of those of other pictures still name theirs"
        f"{other}.{_doubt(found, scope, method, control)}"
    )


def _control(rows: Rows, controls: Sequence[str]) -> str | None:
    """The random method that does most."""
    return max((name for name in controls if name in rows), key=lambda name: rows[name]["j"]["value"], default=None)


def _doubt(found: Mapping[str, Any], scope: str, method: str, control: str | None) -> str:
    """What a reader must not conclude."""
    if control is None:
        return " No random neurons were changed beside, so this says nothing of these ones."
    wanted = (scope, method, control)
    rows = found.get("differences", {}).get("rows", ())
    row = next((one for one in rows if (one["scope"], one["first"], one["second"]) == wanted), None)
    if row is None or row["j"]["low"] > 0:
        return ""
    return " Random ones do better." if row["j"]["high"] < 0 else " What is between them and random ones may be chance."


def _counted(number: int, what: str) -> str:
    return f"the 1 {what}" if number == 1 else f"any of {number} {what}s"


def _percent(cell: Mapping[str, float]) -> str:
    return f"{100 * cell['value']:.0f} %"
