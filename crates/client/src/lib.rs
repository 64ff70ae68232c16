//! A client of the daemon's HTTP API.
