//! Container root file systems: one directory per layer, overlays over them, and what changed.
