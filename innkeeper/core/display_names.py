"""Names for players who gave none: three hyphenated words, such as ``jittery-salmon-gull``."""

from collections.abc import Callable

ADJECTIVES = (
    "agile", "amused", "brave", "breezy", "bright", "bubbly", "calm", "careful", "cheery", "chilly",
    "clever", "cosy", "curious", "daring", "dizzy", "dreamy", "eager", "early", "fearless", "fierce",
    "fluffy", "fond", "gentle", "giddy", "glad", "grand", "grumpy", "happy", "hasty", "honest",
    "humble", "hungry", "jittery", "jolly", "keen", "kind", "lively", "lucky", "merry", "mighty",
    "modest", "nimble", "noble", "patient", "perky", "plucky", "polite", "proud", "quick", "quiet",
    "restless", "rustic", "shy", "silent", "sleepy", "sly", "snug", "steady", "sunny", "swift",
    "tidy", "witty", "wobbly", "zesty",
)  # fmt: skip
COLOURS = (
    "amber", "apricot", "azure", "beige", "blue", "bronze", "brown", "carmine", "cherry", "chestnut",
    "cobalt", "copper", "coral", "cream", "crimson", "cyan", "ebony", "emerald", "fawn", "ginger",
    "golden", "green", "grey", "hazel", "indigo", "ivory", "jade", "khaki", "lavender", "lemon",
    "lilac", "lime", "magenta", "maroon", "mauve", "mint", "mustard", "navy", "ochre", "olive",
    "orange", "orchid", "peach", "pearl", "pink", "plum", "purple", "red", "rose", "ruby",
    "russet", "saffron", "salmon", "sand", "scarlet", "sepia", "silver", "slate", "tan", "teal",
    "turquoise", "violet", "white", "yellow",
)  # fmt: skip
ANIMALS = (
    "alpaca", "ant", "badger", "bat", "bear", "beaver", "bee", "bison", "boar", "camel",
    "cat", "cod", "crab", "crane", "cricket", "crow", "deer", "dove", "duck", "eagle",
    "eel", "elk", "falcon", "ferret", "finch", "fox", "frog", "gecko", "goat", "goose",
    "gull", "hare", "hawk", "heron", "horse", "ibis", "koala", "lark", "lemur", "lion",
    "lynx", "magpie", "mole", "moose", "moth", "mouse", "newt", "otter", "owl", "panda",
    "pike", "puffin", "quail", "rabbit", "raven", "robin", "seal", "snail", "stork", "swan",
    "tapir", "toad", "walrus", "wren",
)  # fmt: skip


def display_name(below: Callable[[int], int]) -> str:
    """A name; ``below(n)`` draws a whole number from 0 to n - 1."""
    return "-".join(words[below(len(words))] for words in (ADJECTIVES, COLOURS, ANIMALS))
