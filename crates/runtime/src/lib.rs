//! The Runtime trait: the seam under everything, with its domain types, errors and events.
