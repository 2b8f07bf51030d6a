//! The RTR client: validated ROA payloads from a cache.
