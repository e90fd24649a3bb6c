"""The version of tlsprobe, as it is written into documents and facts."""

VERSION = "0.1.0"
