"""Graph annotations: deploys and other events of a service, drawn as lines over its graphs.

They lie in months of 30 days by their beginning, so that a search reads what its span holds and not all that ever was.
An item beside them says where the annotation of an id is.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from carbyne.core import keys, names
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    ANNOTATION_CHARACTERS_MAX,
    ANNOTATION_MONTHS_MAX,
    ANNOTATION_TIME_S_MAX,
    ANNOTATIONS_FOUND_MAX,
    DAY_S,
    TITLE_CHARACTERS_MAX,
)
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

MONTH_S: Final = 30 * DAY_S
TimeS = Annotated[int, Meta(ge=0, le=ANNOTATION_TIME_S_MAX)]


class AnnotationForm(msgspec.Struct, frozen=True, rename={"from_s": "from", "to_s": "to"}):
    """What makes or replaces one; ``from_s`` and ``to_s``: seconds since 1970."""

    service: str
    title: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX)]
    from_s: TimeS
    to_s: TimeS
    description: Annotated[str, Meta(max_length=ANNOTATION_CHARACTERS_MAX)] = ""
    roles: Annotated[list[str], Meta(max_length=100)] = []


class Annotation(AnnotationForm, frozen=True, rename={"from_s": "from", "to_s": "to"}, kw_only=True):
    """One with its id."""

    id: str


class _AnnotationPlace(msgspec.Struct, frozen=True, array_like=True):
    """Where the annotation of an id is."""

    service: str
    month: int


def create(registry: Registry, tenant: str, form: AnnotationForm) -> Annotation:
    """A new one; RequestError 400 for a malformed one.  The service need not be registered."""
    made = Annotation(id=registry.new_id(), **msgspec.structs.asdict(_checked(form)))
    settle(lambda: registry.store.write(_put(tenant, made, 0), _place(tenant, made, 0)) or None)
    return made


def find(store: Store, tenant: str, service: str, from_s: int, to_s: int) -> list[Annotation]:
    """Those of a service that overlap the span, by their beginning; of a span of more than
    ANNOTATION_MONTHS_MAX its end."""
    last = to_s // MONTH_S
    months = range(max(0, from_s // MONTH_S - 1, last - ANNOTATION_MONTHS_MAX), last + 1)
    annotations = [_read(item) for month in months for item in store.items(_month(tenant, service, month))]
    fitting = [annotation for annotation in annotations if annotation.from_s <= to_s and annotation.to_s >= from_s]
    return sorted(fitting, key=lambda annotation: (annotation.from_s, annotation.id))[-ANNOTATIONS_FOUND_MAX:]


def replace(registry: Registry, tenant: str, annotation_id: str, form: AnnotationForm) -> Annotation:
    """RequestError 404 for an unknown id, 400 for a malformed annotation."""
    made = Annotation(id=annotation_id, **msgspec.structs.asdict(_checked(form)))

    def attempt() -> bool | None:
        place, item = _of(registry.store, tenant, annotation_id)
        key = _put(tenant, made, 0).key
        if key == item.key:
            return registry.store.write(_put(tenant, made, item.version)) or None
        moves = RegistryChange(item.key, None, item.version), _put(tenant, made, 0), _place(tenant, made, place.version)
        return registry.store.write(*moves) or None

    settle(attempt)
    return made


def delete(registry: Registry, tenant: str, annotation_id: str) -> Annotation:
    """One as it was; RequestError 404 for an unknown id."""

    def attempt() -> Annotation | None:
        place, item = _of(registry.store, tenant, annotation_id)
        gone = registry.store.write(
            RegistryChange(item.key, None, item.version), RegistryChange(place.key, None, place.version)
        )
        return _read(item) if gone else None

    return settle(attempt)


def _checked(form: AnnotationForm) -> AnnotationForm:
    names.service(form.service)
    for role in form.roles:
        names.role(role)
    if not form.from_s <= form.to_s <= form.from_s + MONTH_S:
        raise RequestError(400, "an annotation ends after it begins, and within 30 days")
    return form


def _of(store: Store, tenant: str, annotation_id: str) -> tuple[RegistryItem, RegistryItem]:
    """The item that says where the annotation is, and the annotation's."""
    place = store.get(_place_key(tenant, annotation_id))
    if place is not None:
        where = msgspec.json.decode(place.body, type=_AnnotationPlace)
        item = store.get(Key(_month(tenant, where.service, where.month), annotation_id))
        if item is not None:
            return place, item
    raise RequestError(404, f"graph annotation {annotation_id[:100]!r} is unknown")


def _put(tenant: str, annotation: Annotation, version: int) -> RegistryChange:
    month = _month(tenant, annotation.service, annotation.from_s // MONTH_S)
    return RegistryChange(Key(month, annotation.id), body_of(annotation), version)


def _place(tenant: str, annotation: Annotation, version: int) -> RegistryChange:
    place = _AnnotationPlace(annotation.service, annotation.from_s // MONTH_S)
    return RegistryChange(_place_key(tenant, annotation.id), body_of(place), version)


def _place_key(tenant: str, annotation_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "annotations"), keys.escape(annotation_id))


def _month(tenant: str, service: str, month: int) -> str:
    return keys.registry_owner(tenant, "annotations", service, str(month))


def _read(item: RegistryItem) -> Annotation:
    return msgspec.json.decode(item.body, type=Annotation)
