"""What a run looks like to its readers: one file per format, and the pure parts they share.

``document`` is for machines. The three pure views, ``matrix`` (what happened), ``findings`` (what
is to be said of it) and ``ladder`` (packet by packet), hold everything that ``markdown`` and
``terminal`` put on a page; ``sentences`` words the facts around them. Nothing here judges.
"""
