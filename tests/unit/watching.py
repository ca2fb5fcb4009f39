"""What the tests of `danlu.compiler.watch` share."""

from __future__ import annotations

import danlu as torch
from danlu.compiler.texts import Scope
from danlu.compiler.watch import Observer


def observe(function, *args, **kwargs):
    observer = Observer(function)
    result = observer.run(args or (torch.ones(1, 2),), kwargs)
    return result, observer.guards()


def checker(guards):
    names = Scope()
    texts = guards.expressions(names)
    code = compile(" and ".join(texts) or "True", "<guards>", "eval")

    def check():
        try:
            return bool(eval(code, dict(names)))
        except (AttributeError, KeyError, ValueError):
            return False

    return check
