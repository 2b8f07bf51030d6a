//! A reader that cannot leave its slice: every read says whether there was enough.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is left to read.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (head, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline]
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(|octets| u16::from_be_bytes(*octets))
    }

    #[inline]
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(|octets| u32::from_be_bytes(*octets))
    }

    #[inline]
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(|octets| u64::from_be_bytes(*octets))
    }

    #[inline]
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// Octets behind a one-octet length.
    pub fn counted8(&mut self) -> Option<&'a [u8]> {
        let count = self.u8()?;
        self.take(usize::from(count))
    }

    /// Octets behind a two-octet length.
    pub fn counted16(&mut self) -> Option<&'a [u8]> {
        let count = self.u16()?;
        self.take(usize::from(count))
    }

    pub fn v4(&mut self) -> Option<IpAddr> {
        self.array::<4>()
            .map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)))
    }

    pub fn v6(&mut self) -> Option<IpAddr> {
        self.array::<16>()
            .map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)))
    }

    /// An address, IPv6 when `v6`.
    pub fn addr(&mut self, v6: bool) -> Option<IpAddr> {
        if v6 { self.v6() } else { self.v4() }
    }
}
