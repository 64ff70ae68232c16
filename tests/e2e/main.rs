//! End-to-end tests, a module for each family of commands.

mod run;
