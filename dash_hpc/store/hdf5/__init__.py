"""A reader for the part of HDF5 that this program writes, and for nothing else.

A file of a store may come from anybody, and its checksum only says that nobody changed it on the way. The HDF5 library
trusts what it opens: links and layouts may lead out of the file or round in a circle, a filter may unfold to any size,
a damaged length is memory written past its end. So no file is opened with it. This module takes the bytes apart within
their bounds, knows one kind of group, two filters and five kinds of values, visits no place twice, and refuses
everything else: soft and external links, external and virtual storage, references, compound and nested types.

What it reads is HDF5's oldest format (superblock 0, object headers 1, symbol tables, B-trees 1), which ``to_bytes``
asks for. The words of the format's specification are used:
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from dash_hpc.store.hdf5.image import open_image
from dash_hpc.store.hdf5.objects import Dataset, Group, Value

__all__ = ["Dataset", "Group", "Value", "open_image"]
