//! The content store: blobs by digest, image names, leases, garbage collection, save and load.
