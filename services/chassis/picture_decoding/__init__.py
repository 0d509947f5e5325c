"""Strangers' pictures become pixels here, in processes that can be killed.

formats    what a file is by its first bytes, and what to tell the sender of another format
png_file   checks of a PNG before a decoder sees it: every chunk, every row; what is no picture is left out
jpeg_file  the same for a JPEG: its segments, its scans, and the warnings that Pillow does not pass on
flatten    any mode to RGB in bands, so that the peak is the picture and not a multiple of it
limits     how much time, memory and wall time one picture may take
sandbox    what a decoder's process may do: no files, no network, no other process
messages   what parent and child say to each other; nothing of it is ever pickled
child      the decoder's process
process    the parent's end of it: start, exchange, kill
turns      whose picture is next when several projects wait
pool       several such processes for a service or a worker
settings   the variables of all that

`services.chassis.pictures` is the decoder itself; only the child runs it on bytes of strangers.
"""
