"""What a result comes to, in sentences that need no term of the field; terminal, JSON and page begin with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .marked import marked, names

#: Condition -> what was done to the located neurons, and to random ones. What the picture without the object gives them
#: is told, since sets are located by it and noise wrecks some models' captions whatever it is on; and the first other.
_DONE: Mapping[str, tuple[str, str]] = {
    "patch": ("With them as without the object", "with as many random ones like that"),
    "noise": ("With noise on them", "with the same noise on as many random ones"),
    "zero": ("Without them", "without as many random ones"),
    "scale": ("With them scaled", "with as many random ones scaled"),
    "swap": ("With another word written into them", "with it written into as many random ones"),
}


def verdict(concept: str, neurons: int, texts: Callable[[str], Sequence[str]], doubt: str = "") -> str:
    """How often captions name a concept with its neurons changed, and with random ones.

    Args:
        concept: as it was asked for.
        neurons: how many were located.
        texts: condition, such as "noise" or "random noise" -> the captions under it; none where it was not run.
        doubt: why the word may not be that of what was removed; it comes first.
    """
    return " ".join(filter(None, (doubt, _tested(concept, neurons, texts))))


def _tested(concept: str, neurons: int, texts: Callable[[str], Sequence[str]]) -> str:
    if not neurons:
        return f"No neurons were found for “{concept}”."
    head = "1 neuron" if neurons == 1 else f"{neurons} neurons"
    run = [condition for condition in _DONE if texts(condition)]
    told = [condition for condition in run if condition == "patch"] + [one for one in run if one != "patch"][:1]
    if not told:
        return f"{head} for “{concept}”, not tested: nothing says yet whether captions need them."
    return " ".join([f"{head}.", *(_sentence(condition, concept, neurons, texts) for condition in told)])


def _sentence(condition: str, concept: str, neurons: int, texts: Callable[[str], Sequence[str]]) -> str:
    done, beside = _DONE[condition]
    others = texts(f"random {condition}")
    control = f"; {beside} {_named(others, concept, brief=True)}" if others else ", with no random ones beside"
    done = done.replace("them", "it") if neurons == 1 else done
    return f"{done} {_named(texts(condition), concept)}{control}."


def _named(texts: Sequence[str], concept: str, *, brief: bool = False) -> str:
    """How many captions name a concept."""
    count = sum(names(marked(text, concept)) for text in texts)
    if len(texts) == 1:
        if brief:
            return "it does" if count else "it does not"
        return f"the caption {'still names' if count else 'does not name'} “{concept}”"
    return f"{count} of {len(texts)}" + ("" if brief else f" captions name “{concept}”")


def counted(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Each text once, with how often it is there, in the order of the first."""
    return [(text, sum(other == text for other in texts)) for text in dict.fromkeys(texts)]
