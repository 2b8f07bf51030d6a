//! The receive-only BGP speaker for daemons without BMP.
