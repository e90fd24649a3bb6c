"""The pages, each written once, as blocks: one file per page, and the sections that they share."""
