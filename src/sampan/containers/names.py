"""Names for containers that were given none: an adjective and a thing that floats, or has to do with it."""

import os

from sampan.errors import Invalid

_ADJECTIVES = (
    "able agile amber ample azure bold brave bright brisk calm clear clever cosy crisp daring deft eager early "
    "easy fair fleet fond free fresh gentle glad golden grand happy hardy honest humble jolly keen kind light "
    "lively loyal lucid lucky mellow merry mighty misty neat nimble noble patient placid plucky polite proud "
    "quick quiet rapid ready serene sharp silent silver sleek smooth snug solid spry steady sturdy sunny sure "
    "swift tidy trim trusty upbeat vivid warm wise witty young zesty"
).split()
_THINGS = (
    "anchor ark barge bay beacon boat bow brig buoy canal canoe cape captain cargo clipper cove cutter delta dhow "
    "dinghy dock drift eddy ferry fjord galley gull harbor heron hull island jetty junk kayak keel ketch lagoon "
    "lantern launch mast mooring oar otter paddle pelican pier pilot port prow punt quay raft reef rigger river "
    "rudder sail sampan schooner scow shoal shore skiff sloop spar spray stern strait surf tern tide tiller "
    "trawler tug wake wave wharf wherry yawl"
).split()


def check(name: str) -> str:
    """``name``, if a container may have it (Docker's rule). Raises Invalid."""
    allowed = len(name) > 1 and name[0].isalnum() and all(letter.isalnum() or letter in "_.-" for letter in name)
    if not (allowed and name.isascii()):
        raise Invalid(f"{name!r} is not a container's name", hint="letters, digits, _ . and -, at least two of them")
    return name


def invent(taken: set[str]) -> str:
    """A name that is not among ``taken``."""
    while True:
        first, second, number = os.urandom(3)
        name = f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_THINGS[second % len(_THINGS)]}"
        if name not in taken:
            return name
        if f"{name}{number}" not in taken:
            return f"{name}{number}"
