"""msc_pipeline: site exports of a blinded trial, validated and curated into a DuckDB release."""

__version__ = "0.1.0"
