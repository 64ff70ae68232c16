//! Tar archives in and out of a directory that they can never leave.
