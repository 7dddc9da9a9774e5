//! Who asks, and whether they may: tokens, keys, passwords, logins at OpenID providers, roles.
