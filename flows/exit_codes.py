"""How the command ends, as numbers: a script can tell what to do next."""

#: All done; usage; some files failed; temporary, so try again; stopped.
DONE, USAGE, FAILED, TEMPORARY, STOPPED = 0, 2, 3, 5, 7
