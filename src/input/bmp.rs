//! The BMP station: routers connect, their octets become records.
