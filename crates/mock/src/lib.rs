//! MockRuntime: a runtime in memory.
