"""The API as an OpenAPI 3.1 document, out of the protos: paths from their HTTP rules, limits from their field rules,
texts from their comments."""
