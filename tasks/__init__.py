"""The units of retry: look-ups, planning, downloading, the ledger and the reports.

Imports run one way: ``flows`` uses ``tasks``, ``tasks`` uses ``tasks.clients``, never back.
"""
