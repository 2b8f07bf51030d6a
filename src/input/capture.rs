//! Live packets: one thread for each interface, kernel filters, drop counters.
