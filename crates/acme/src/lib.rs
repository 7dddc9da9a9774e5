//! Certificates from authorities that speak ACME (RFC 8555), ordered, renewed (RFC 9773) and kept on disk.
