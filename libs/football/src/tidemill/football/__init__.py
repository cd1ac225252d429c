"""The betting offer of the Szerencsemix paper. Pure: bytes and names in, facts out."""
