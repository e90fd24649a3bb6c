"""What a run looks like to its readers: pages and documents. Nothing here judges.

A page is a value of ``blocks``, written once in ``pages`` and drawn by ``render_terminal`` and
``render_markdown``. The pure views are shared by all of them: ``matrix`` (what happened),
``findings`` (what follows from it), ``ladder`` (packet by packet), ``compatibility`` (who closes
alike) and ``sentences`` (the facts around them). ``document``, ``compatibility_json``,
``compatibility_csv``, ``explain_document``, ``fuzz_document`` and ``ci`` are for machines.
"""
