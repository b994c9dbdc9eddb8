"""The speed tables: every row calls what the product calls, beside a plain reference on the same inputs (`plain`)."""
