//! OCI nouns: references, digests, platforms, manifests, image configurations.
