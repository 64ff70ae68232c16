//! Bridges, addresses, published ports.
