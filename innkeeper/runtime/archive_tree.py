"""The tree that an archive would unpack to, kept in mind only: who is below whom, and where each
link leads.
"""

from collections.abc import Iterator

_LINKS_MAX = 40
Parts = tuple[str, ...]


class Tree:
    """Paths and their kinds. ``nodes_max`` bounds the directories that are only implied, too."""

    def __init__(self, nodes_max: int) -> None:
        self._kinds: dict[Parts, str] = {}
        self._targets: dict[Parts, str] = {}
        self._nodes_max = nodes_max

    def kind(self, parts: Parts) -> str | None:
        """ "file", "dir", "symlink", "hardlink", or ``None``."""
        return self._kinds.get(parts)

    def names(self) -> list[str]:
        """What is at the root."""
        return [parts[0] for parts in self._kinds if len(parts) == 1]

    def add(self, kind: str, parts: Parts, target: str) -> str | None:
        """Add an entry; what is wrong with it completes the sentence 'entry "…" ', ``None`` where
        nothing is.
        """
        problem = self._parents(parts)
        if problem is None:
            problem = self._clash(self._kinds.get(parts), kind)
        if problem is None and kind == "symlink":
            problem = _bad_target(target)
        if problem is None and kind == "hardlink":
            problem = self._bad_hardlink(target)
        if problem is not None:
            return problem
        if len(self._kinds) >= self._nodes_max:
            return "is one too many: the archive holds too many directories"
        self._kinds[parts] = kind
        if kind in ("symlink", "hardlink"):
            self._targets[parts] = target
        return None

    def _parents(self, parts: Parts) -> str | None:
        for length in range(1, len(parts)):
            parent = parts[:length]
            kind = self._kinds.setdefault(parent, "dir")
            if kind == "symlink":
                return f'would be written through the link "{"/".join(parent)}"'
            if kind != "dir":
                return f'is below "{"/".join(parent)}", which is a file'
            if len(self._kinds) > self._nodes_max:
                return "is one too many: the archive holds too many directories"
        return None

    @staticmethod
    def _clash(before: str | None, kind: str) -> str | None:
        if before is None or before == kind == "dir" or before == kind == "file":
            return None
        return f"appears twice, first as a {before}, then as a {kind}"

    def _bad_hardlink(self, target: str) -> str | None:
        if target.startswith("/") or ".." in target.split("/"):
            return f'is a link that leaves the root: "{target}"'
        parts = tuple(part for part in target.split("/") if part not in ("", "."))
        if self._kinds.get(parts) not in ("file", "hardlink"):
            return f'is a hard link to "{target}", which is no file before it in the archive'
        return None

    def leaving(self, root: Parts) -> Iterator[tuple[Parts, str]]:
        """Links that lead out of ``root``, perhaps by way of other links: path and what is wrong."""
        for parts, target in self._targets.items():
            if parts[: len(root)] != root or parts == root:
                continue
            if self._kinds[parts] == "hardlink":
                outside = (
                    tuple(p for p in target.split("/") if p not in ("", "."))[: len(root)] != root
                )
                problem = "leaves the root" if outside else None
            else:
                problem = self._follow(parts, target, root)
            if problem is not None:
                yield parts, f'is a link that {problem}: "{target}"'

    def _follow(self, parts: Parts, target: str, root: Parts) -> str | None:
        at, todo, links = list(parts[:-1]), target.split("/")[::-1], 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(at) <= len(root):
                    return "leaves the root"
                at.pop()
                continue
            at.append(part)
            if self._kinds.get(tuple(at)) == "symlink":
                links += 1
                if links > _LINKS_MAX:
                    return "leads in a circle"
                todo += self._targets[tuple(at)].split("/")[::-1]
                at.pop()
        return None


def _bad_target(target: str) -> str | None:
    if not target:
        return "is a link to nothing"
    if target.startswith("/"):
        return f'is a link that leaves the root: "{target}"'
    return None
