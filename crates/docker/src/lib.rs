//! The Docker Engine API's JSON types.
