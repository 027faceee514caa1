"""What `$ref` leads to: JSON pointers, anchors and ids within one schema."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from ftllm_nb.serving.schemas.keywords import schemas_in


class LostReference(Exception):
    """A reference that leads nowhere; its text is a sentence."""


class References:
    """Of one schema, whose objects are told apart by identity: it must not be changed meanwhile."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._resources: dict[str, Any] = {"": root}
        self._anchors: dict[tuple[str, str], Any] = {}
        self._base: dict[int, str] = {}
        waiting: list[tuple[Any, str]] = [(root, "")]
        while waiting:
            node, base = waiting.pop()
            if not isinstance(node, dict):
                continue
            name = node.get("$id", node.get("id"))
            if isinstance(name, str) and not name.startswith("#"):
                base = urldefrag(urljoin(base, name)).url
                self._resources[base] = node
            elif isinstance(name, str):  # the anchors of old drafts
                self._anchors[base, name[1:]] = node
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(key), str):
                    self._anchors[base, node[key]] = node
            self._base[id(node)] = base
            waiting += [(each, base) for _, each in schemas_in(node)]

    def target(self, reference: Any, node: dict[str, Any]) -> dict[str, Any] | bool:
        """What a reference in this node leads to."""
        if not isinstance(reference, str):
            raise LostReference("a reference must be a text")
        base = self._base.get(id(node), "")
        location, fragment = urldefrag(reference)
        location = urldefrag(urljoin(base, location)).url if location else base
        if location not in self._resources:
            raise LostReference(
                f"the reference {reference[:100]!r} leads outside of the schema: put what it means under $defs"
            )
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            found = self._anchors.get((location, fragment))
        else:
            found = _at(self._resources[location], fragment)
        if not isinstance(found, (dict, bool)):
            raise LostReference(f"the reference {reference[:100]!r} leads to no schema")
        return found


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return value if pointer == "/" else None
    return value
