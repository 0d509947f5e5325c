"""Signing in to the console at an OpenID provider, by the authorization code flow with PKCE."""
