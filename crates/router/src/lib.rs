//! Which of many routes answers a request: hosts, paths, methods, fields, addresses and weights, compiled.
