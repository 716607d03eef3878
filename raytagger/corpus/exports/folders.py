"""Files that stand in an export's folder and hold no documents."""

from __future__ import annotations

from collections.abc import Iterable

from raytagger.corpus.compression import strip_compression
from raytagger.store import parent

DATASET_FILES = ("dataset_dict.json", "dataset_info.json", "state.json")  # of `save_to_disk`
DUMP_TABLES = ("Badges", "Comments", "PostHistory", "PostLinks", "Tags", "Users", "Votes")  # beside Posts.xml


def find_companions(uris: Iterable[str]) -> set[str]:
    """What `datasets` writes about its Arrow files, and the other tables of a Stack Exchange dump."""
    places = {uri: (parent(uri), strip_compression(uri.rsplit("/", 1)[-1])) for uri in uris}
    arrow = {folder for folder, name in places.values() if name.endswith(".arrow")}
    arrow |= {parent(folder) for folder in arrow}
    dumps = {folder for folder, name in places.values() if name == "Posts.xml"}
    tables = {f"{name}.xml" for name in DUMP_TABLES}
    return {
        uri
        for uri, (folder, name) in places.items()
        if (folder in arrow and name in DATASET_FILES) or (folder in dumps and name in tables)
    }
