"""Property listings: what they say, where they stand, which of them mean one flat. Pure: values in, values out."""
