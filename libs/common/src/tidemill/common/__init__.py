"""What every service needs to run; no word about any domain."""
