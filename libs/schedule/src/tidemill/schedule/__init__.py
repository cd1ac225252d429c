"""When a source is due: slots, missed slots, time zones."""
