"""Ray Data: documents read, tagged and written as units; quarantine; resume."""
