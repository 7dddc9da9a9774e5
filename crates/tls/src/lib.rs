//! TLS for listeners and upstreams: certificates by server name, their rotation, an own authority, client certificates.
