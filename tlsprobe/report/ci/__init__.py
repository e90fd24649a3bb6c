"""What a build server is told: notices, and a format for each kind of build server.

``notice`` is the value between them. ``of_run``, ``of_fuzz`` and ``of_explanation`` make notices;
``github``, ``sarif`` and ``gitlab`` write them. JUnit has a case for each cell or property, passed
ones too, and is made of the documents themselves.
"""
