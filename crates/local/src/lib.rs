//! LocalRuntime: the product's own runtime.
