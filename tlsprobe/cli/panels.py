"""The headings under which ``--help`` lists the options."""

TARGET_PANEL, TLS_PANEL, CAPTURE_PANEL, OUTPUT_PANEL = "Target", "TLS", "Capture", "Output"
