"""The API: models of all kinds, and the contract between the operator and its phase pods."""
