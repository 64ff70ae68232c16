//! The registry client: pull, push, authentication, mirrors.
