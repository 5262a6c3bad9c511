"""A suite of expectations, in Great Expectations' keys, answered by one scan of DuckDB.

Belongs here: compiling a suite to SQL, running it, naming every failing row, and the face that Great Expectations
sees (`gx_engine`). Does not: anything of trials. docs/onescan.md describes it as a thing of its own.
"""
