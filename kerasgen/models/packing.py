"""A file of weights in as few bytes as it takes; the same weights always make the same bytes."""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np

_PACKING = {"compression": "gzip", "shuffle": True}
_FEW, _MOST = 64, 2**29  # numbers: to compress fewer costs more than it saves, and a chunk has 4 GiB at most


def pack(file: Path, half: bool) -> None:
    """Write a file that Keras' `save_weights` made anew, compressed without loss.

    What stands in it twice, such as a network and its copy, is stored once, under both names.

    Args:
        file: a .weights.h5 file; it is replaced.
        half: store float32 in float16, where it isn't too large for that.
    """
    fresh = file.with_name("packed.h5")
    stored: dict[tuple[bytes, str], h5py.Dataset] = {}
    with h5py.File(file) as whole, _created(fresh) as packed:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                copied = _add_group(packed, name)
            else:
                values = item[()]
                fits = values.dtype == np.float32 and np.abs(values).max(initial=0) <= np.finfo(np.float16).max
                kept = values.astype(np.float16) if half and fits else values
                packing = _PACKING | {"chunks": kept.shape} if _FEW < kept.size < _MOST else {}
                said = f"{kept.dtype} {kept.shape} {dict(item.attrs)}"  # bfloat16 is an attribute
                same = (hashlib.sha256(kept.tobytes()).digest(), said)
                if same in stored:
                    packed[name] = stored[same]
                    return
                copied = stored[same] = packed.create_dataset(name, data=kept, **packing)
            # Keras tells no part by its name, which counts the layers that the process has made.
            copied.attrs.update({key: value for key, value in item.attrs.items() if key != "name"})

        packed.attrs.update(whole.attrs)
        whole.visititems(copy)
    fresh.replace(file)


def _created(path: Path) -> h5py.File:
    """Create a file in the format of HDF5 1.10, which spends a third of the older one's bytes on names."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    dateless = _dateless(h5py.h5p.FILE_CREATE)
    return h5py.File(h5py.h5f.create(os.fsencode(path), h5py.h5f.ACC_TRUNC, dateless, access))


def _add_group(file: h5py.File, name: str) -> h5py.Group:
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_char_encoding(h5py.h5t.CSET_UTF8)
    return h5py.Group(h5py.h5g.create(file.id, name.encode(), link, _dateless(h5py.h5p.GROUP_CREATE)))


def _dateless(kind: h5py.h5p.PropClassID) -> h5py.h5p.PropCreateID:
    """Return properties of what is created without its date, which would make each file another one."""
    properties = h5py.h5p.create(kind)
    properties.set_obj_track_times(False)
    return properties
