"""The nouns, their Parquet tables and the errors: the ground floor that every part stands on."""
