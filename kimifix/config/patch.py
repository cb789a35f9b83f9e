"""The edit of the config as a function of text, in both directions, with its proof.

``patch`` adds our tables and moves what names a managed alias; ``unpatch`` takes both
back. Neither returns a text before tomllib has confirmed that its data is the old
data with the intended change and nothing else.
"""

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kimifix.config import routes
from kimifix.config.change import Change, KeyPath, Moved, Undo
from kimifix.config.document import MANAGED, OWN, Document, difference, get, load, same
from kimifix.config.edit import Edit, dotted, key_source, source_of
from kimifix.errors import UnsupportedShapeError


@dataclass(frozen=True)
class Patched(Document):
    """The document after ``patch``, and the way back."""

    undo: Undo = field(default_factory=Undo)


@dataclass(frozen=True)
class Unpatched(Document):
    """The document after ``unpatch``, and what was done, by path.

    ``removed`` are our entries, ``restored`` the settings put back or taken out again,
    ``left`` the settings that somebody else has changed since and that therefore stay.
    """

    removed: tuple[KeyPath, ...] = ()
    restored: tuple[KeyPath, ...] = ()
    left: tuple[KeyPath, ...] = ()


def patch(document: Document, change: Change) -> Patched:
    """Return ``document`` with ``change`` made; the tables of ``change`` must be new.

    Raises ``UnsupportedShapeError``, naming the shape, when the result cannot be proved.
    """
    edit = Edit(document.text)
    expected = _copy(document.data)
    moved: list[Moved] = []
    for path, name in change.keys.items():
        replaced = edit.rename(path, key_source(name))
        _at(expected, path[:-1])[name] = _at(expected, path[:-1]).pop(path[-1])
        moved.append(Moved(path, replaced.source, name, is_key=True))
    for path, value in change.values.items():
        replaced = edit.set(path, source_of(value))
        _at(expected, path[:-1])[path[-1]] = value
        moved.append(Moved(path, replaced.source, value, new_table=replaced.new_table))
    for path, table in change.tables.items():
        edit.add_table(path, table)
        _at(expected, path[:-1])[path[-1]] = _copy(table)
    completed = edit.completes_last_line
    text = edit.result()
    del edit  # a large config takes much of it, and the proof takes as much again
    return Patched(_proved(text, expected), text, document.bom, Undo(tuple(moved), completed))


def unpatch(document: Document, undo: Undo | None, kept: Collection[KeyPath] = ()) -> Unpatched:
    """Return ``document`` without our entries and with the moved settings put back.

    ``undo`` is what ``patch`` returned for the text that this document comes from.
    Without it (None) every setting that names one of our aliases is led back to the
    managed alias of the same model. Settings that somebody else has changed since stay,
    and so do our entries ``kept``, with all that names them.
    Raises ``UnsupportedShapeError`` when the result cannot be proved.
    """
    removed = tuple(path for path in document.own_entries if path not in kept)
    plan = list(_returns(document, undo, kept))
    left = tuple(_left(document.data, undo, [back.path for back in plan]))
    if not removed and not plan:  # as before every first `apply`, which shall be quick
        return Unpatched(document.data, document.text, document.bom, left=left)
    edit = Edit(document.text)
    expected = _copy(document.data)
    for path in removed:
        del _at(expected, path[:-1])[path[-1]]
    gone = set(removed)
    headers: set[KeyPath] = set()
    for back in plan:
        table, name = _at(expected, back.path[:-1]), back.path[-1]
        if back.source is None or (back.is_key and _key(back.source) in table):
            del table[name]
            gone.add(back.path)
            if back.with_table and not table:
                del _at(expected, back.path[:-2])[back.path[-2]]
                gone.add(back.path[:-1])
            elif back.with_table and edit.is_alone(back.path):
                headers.add(back.path[:-1])
        elif back.is_key:
            edit.rename(back.path, back.source)
            table[_key(back.source)] = table.pop(name)
        else:
            edit.set(back.path, back.source)
            table[name] = _value(back.source)
    edit.remove(gone, headers)
    cut = edit.cuts_last_line
    text = edit.result()
    del edit
    if undo and undo.newline_added and cut:
        text = text.removesuffix("\n").removesuffix("\r")
    return Unpatched(
        _proved(text, expected, gone),
        text,
        document.bom,
        removed,
        restored=tuple(back.path for back in plan),
        left=left,
    )


def stands(entries: Collection[KeyPath], undo: Undo, now: Document) -> bool:
    """Tell whether the ``entries`` and the moved settings of a patch are all in ``now``."""
    found = ((was, get(now.data, was.path_since)) for was in undo.moved)
    moved = (value is not None if was.is_key else value == was.new for was, value in found)
    return set(entries) <= set(now.own_entries) and all(moved)


def moved_in(document: Document, undo: Undo | None) -> tuple[Moved, ...]:
    """Return what ``patch`` has changed outside our tables.

    Without ``undo`` that is what tells by itself: search and fetch that name our platform.
    """
    if undo is not None:
        return undo.moved
    said, ours = routes.service_platforms(document), routes.platform_of(document.own or {})
    return tuple(Moved(p, None, ours, new_table=True) for p in said if ours and said[p] == ours)


class _Return(NamedTuple):
    """One setting to put back: the TOML source for ``path``, None to take it out again."""

    path: KeyPath
    source: str | None
    is_key: bool = False
    with_table: bool = False


def _returns(document: Document, undo: Undo | None, kept: Collection[KeyPath]) -> Iterator[_Return]:
    data = document.data
    moved = {m.path_since: m for m in moved_in(document, undo)}
    own = {a: m for a, m in document.aliases_of(OWN).items() if ("models", a) not in kept}
    foreign = document.models.keys() - own.keys()
    counterpart = _managed_counterparts(document)
    for path, alias, is_key in document.references:
        was = moved.pop(path, None)
        if alias in foreign or not _is_own(alias, own):
            continue
        managed = counterpart(alias, own.get(alias, {}))
        source = None
        if managed is not None:
            source = key_source(managed) if is_key else source_of(managed)
        # Nobody has signed out, and still there is no model to lead back to: the old name stays.
        is_dead = managed is None and MANAGED in document.providers
        if was and was.new == alias and (is_dead or was.old is None or _name(was) in foreign):
            source = was.old
        yield _Return(path, source, is_key, with_table=bool(was and was.new_table))
    if data.get("default_provider") == OWN:
        was = moved.pop(("default_provider",), None)
        managed = source_of(MANAGED) if MANAGED in document.providers else None
        yield _Return(("default_provider",), was.old if was else managed)
    default = moved.pop(("default_model",), None)
    if default and default.old and "default_model" not in data:
        # `kimi provider remove` and the client's model refresh unset a default of ours.
        # A user who chose another one would have left another one.
        managed = counterpart(str(default.new), {})
        if _name(default) in foreign:
            yield _Return(("default_model",), default.old)
        elif managed is not None:
            yield _Return(("default_model",), source_of(managed))
    # What keeps thinking on was written for our default. Where somebody else has set another
    # one, a fresh login for example, the client has set thinking with it, or would have.
    is_ours = _is_own(str(data.get("default_model", f"{OWN}/")), own)
    for was in moved.values():
        if (is_ours or was.new is not True) and same(get(data, was.path), was.new):
            yield _Return(was.path, was.old, with_table=was.new_table)


def _left(data: dict[str, Any], undo: Undo | None, restored: Collection[KeyPath]) -> list[KeyPath]:
    left = []
    for was in undo.moved if undo else ():
        now = get(data, was.path_since)
        is_as_it_was = now in (was.new, _name(was))
        if was.is_key:
            is_as_it_was = now is not None or get(data, was.path) is not None
        if was.path_since not in restored and not is_as_it_was:
            left.append(was.path)
    return left


def _is_own(alias: str, own: Collection[str]) -> bool:
    return alias in own or alias.startswith(f"{OWN}/")


def _managed_counterparts(document: Document) -> Callable[[str, Mapping[str, Any]], str | None]:
    """Return what finds the managed alias that an alias of ours, and its entry, stand in for.

    That is the one it is named after, else the first of the same model, else the first one.
    """
    if document.data.get("default_provider") == OWN and MANAGED in document.providers:
        # As it will be again.
        document = Document({**document.data, "default_provider": MANAGED})
    managed = document.served_by(MANAGED)
    by_model = {entry.get("model"): alias for alias, entry in reversed(managed.items())}

    def counterpart(alias: str, twin: Mapping[str, Any]) -> str | None:
        named = alias.removeprefix(f"{OWN}/")
        other = by_model.get(twin.get("model"), next(iter(managed), None))
        return named if named in managed else other

    return counterpart


def _key(source: str) -> str:
    """Return the name that ``source`` spells; of several spellings all say the same."""
    (key,) = tomllib.loads(source.partition("\n")[0] + " = 0")
    return key


def _value(source: str) -> Any:
    return tomllib.loads(f"v = {source}")["v"]


def _name(was: Moved) -> Any:
    """Return what stood there before, None for nothing."""
    if was.old is None:
        return None
    return _key(was.old) if was.is_key else _value(was.old)


def _at(data: dict[str, Any], path: KeyPath) -> dict[str, Any]:
    """Return the table at ``path``, made where it does not exist."""
    for part in path:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise UnsupportedShapeError(f"`{dotted(path)}` is not a table")
    return data


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the tables of ``table``, however deep; all other values are shared."""
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in table.items()}


def _proved(
    text: str, expected: dict[str, Any], removed: Collection[KeyPath] = ()
) -> dict[str, Any]:
    """Return the data of ``text``; raises ``UnsupportedShapeError`` unless it is ``expected``."""
    try:
        data = load(text)
    except (ValueError, RecursionError) as error:
        raise UnsupportedShapeError(f"the result would not be valid TOML, {error}") from None
    # A table that a removed entry alone held may be gone with it, or stay empty.
    above = {path[:n] for path in removed for n in range(1, len(path))}
    for table in sorted(above, key=len, reverse=True):
        if get(expected, table) == {} and get(data, table) is None:
            del _at(expected, table[:-1])[table[-1]]
    place = difference(data, expected)
    if place is not None:
        raise UnsupportedShapeError(f"`{dotted(place)}` would come out wrong")
    return data
