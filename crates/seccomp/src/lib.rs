//! Seccomp profiles compiled to BPF filters.
