"""The list of scenarios: each is a function that sets up, records and injects, with the verdict a competent engineer would give."""
import dataclasses

SCENARIOS = {}


@dataclasses.dataclass
class Entry:
    name: str
    summary: str
    expect: dict
    play: object


def scenario(name, summary, root=None, most=0, **expect):
    """Registers a scenario. Without `root` it is benign: nothing of it deserves an alarm."""
    def register(play):
        verdict = {**({"root": root} if root else {}), **expect, "max": most}
        SCENARIOS[name] = Entry(name, summary, verdict, play)
        return play
    return register


def kinds(*names, **more):
    return {"kinds": list(names), **more}


def session(subject, reason=None):
    return kinds("session.flap", "session.down", subject=subject, **({"reason": reason} if reason else {}))


LINK = kinds("link.flap", "link.carrier-lost", "link.admin-down")
SESSION = kinds("session.flap", "session.down")
PREFIX_FLAP = kinds("prefix.flap")
DEFAULT_LOST = kinds("route.default-lost", "route.withdrawn", "route.silent-loss")
# Both ends of the leaf's sessions to spa, and to spb.
TO_SPA = r"peer:(192\.0\.2\.[01]|fd5a:1f:1::[12])$"
TO_SPB = r"peer:(192\.0\.2\.[23]|fd5a:1f:2::[12])$"
