//! One TCP connection: its two directions, and what each segment means for them.
//!
//! Turns segments into [`Output`]: octets once and in order, losses, and the facts that explain a session's end. Knows neither the
//! table of connections nor the protocols on top.

use super::Segment;
use super::half::{CapturePoint, Half, Held, Hold, Identity, Place};
use crate::decode::Stamp;
use crate::event::Timestamp;
use crate::event::frame::Frame;
use crate::event::tcp::TcpFact;

/// What comes out of a connection.
#[derive(Debug)]
pub enum Output<'a> {
    /// A fact about the segment at hand.
    Fact(TcpFact),
    /// The next octets of one direction, with the frame that brought them.
    Data {
        sender: usize,
        bytes: &'a [u8],
        frame: &'a Frame,
        stamp: Stamp,
    },
    /// Octets of one direction that the capture does not have; `None` where nobody can say how many.
    Lost {
        sender: usize,
        octets: Option<u64>,
        stamp: Stamp,
    },
    /// The connection is over: no more data follows.
    Closed(Stamp),
}

/// Where the output goes.
pub type Out<'a> = &'a mut dyn FnMut(Output<'_>);

/// A connection. Directions are indexed by their sender, 0 or 1.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub halves: [Half; 2],
    /// Whose FIN ends the connection: both for BGP, the router's for BMP.
    deciding: [bool; 2],
    pub closed: bool,
}

impl Connection {
    pub fn new(deciding: [bool; 2]) -> Connection {
        Connection {
            deciding,
            ..Connection::default()
        }
    }

    fn half(&mut self, sender: usize) -> &mut Half {
        &mut self.halves[sender & 1]
    }

    /// Delivers octets, and tells of those behind them that the capture cut off.
    fn deliver(
        &self,
        sender: usize,
        bytes: &[u8],
        missing: u32,
        frame: &Frame,
        stamp: Stamp,
        out: Out<'_>,
    ) {
        if !bytes.is_empty() {
            out(Output::Data {
                sender,
                bytes,
                frame,
                stamp,
            });
        }
        if missing > 0 {
            let octets = Some(u64::from(missing));
            out(Output::Lost {
                sender,
                octets,
                stamp,
            });
        }
    }

    /// Delivers what follows without a hole; `at` is the time of the release.
    fn drain(&mut self, sender: usize, at: Timestamp, out: Out<'_>) {
        let mut any = false;
        while let Some((held, skip)) = self.half(sender).ready() {
            any = true;
            let bytes = held.bytes.get(skip as usize..).unwrap_or_default();
            let cut = skip.saturating_sub(held.bytes.len() as u32);
            let missing = held.missing.saturating_sub(cut);
            let len = (bytes.len() as u32).saturating_add(missing);
            self.half(sender).advance(held.seq.wrapping_add(skip), len);
            let stamp = Stamp { at, ..held.stamp };
            self.deliver(sender, bytes, missing, &held.frame, stamp, out);
        }
        if any {
            self.half(sender).renew_hole(at);
        }
    }

    /// Gives up one direction's first hole.
    fn give_up(&mut self, sender: usize, at: Timestamp, out: Out<'_>) -> bool {
        let Some((lost, stamp)) = self.half(sender).give_up() else {
            return false;
        };
        out(Output::Lost {
            sender,
            octets: Some(u64::from(lost)),
            stamp: Stamp { at, ..stamp },
        });
        self.drain(sender, at, out);
        true
    }

    /// Gives up every hole.
    pub fn flush(&mut self, at: Timestamp, out: Out<'_>) {
        for sender in 0..2 {
            while self.give_up(sender, at, out) {}
        }
    }

    /// Gives up the holes whose time is over at `at`.
    pub fn expire(&mut self, at: Timestamp, out: Out<'_>) {
        for sender in 0..2 {
            while self.halves[sender]
                .deadline()
                .is_some_and(|deadline| deadline <= at)
            {
                self.give_up(sender, at, out);
            }
        }
    }

    /// No more comes: delivers what waits, once tells the end.
    pub fn close(&mut self, stamp: &Stamp, out: Out<'_>) {
        self.flush(stamp.at, out);
        if !self.closed {
            self.closed = true;
            out(Output::Closed(*stamp));
        }
    }

    /// Octets that wait behind holes.
    pub fn held(&self) -> usize {
        self.halves.iter().map(Half::held_octets).sum()
    }

    /// Until when the first hole is waited for.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.halves.iter().filter_map(Half::deadline).min()
    }

    /// Whether a SYN with this sequence number begins another connection between the same ends.
    pub fn is_replaced_by(&self, sender: usize, seq: u32) -> bool {
        let half = &self.halves[sender & 1];
        half.isn
            .map_or(self.closed || half.next.is_some(), |isn| isn != seq)
    }

    /// How much a follower loses with it: closed, never spoke, one side spoke, both did.
    pub fn worth(&self) -> u8 {
        match (self.closed, self.halves[0].spoke, self.halves[1].spoke) {
            (true, ..) => 0,
            (_, false, false) => 1,
            (_, true, true) => 3,
            _ => 2,
        }
    }

    /// What one segment does to its connection. `room`: octets that may still be held.
    pub fn take(
        &mut self,
        sender: usize,
        segment: &Segment<'_>,
        room: usize,
        stamp: &Stamp,
        out: Out<'_>,
    ) {
        let (sender, receiver) = (sender & 1, 1 - (sender & 1));
        let len = segment.len();
        let flags = u8::from(segment.syn) | u8::from(segment.fin) << 1 | u8::from(segment.rst) << 2;
        if len > 0 || flags != 0 {
            let identity = Identity {
                seq: segment.seq,
                len,
                flags,
            };
            let point = CapturePoint::new(segment.frame, stamp.source);
            if self
                .half(sender)
                .is_copy(identity, stamp.at, point, segment.ip_id)
            {
                return;
            }
        }
        if segment.rst {
            if self.half(sender).is_plausible(segment.seq) {
                out(Output::Fact(TcpFact::Rst));
                self.close(stamp, out);
            }
            return;
        }
        let mut seq = segment.seq;
        if segment.syn {
            let half = &mut self.half(sender);
            seq = seq.wrapping_add(1);
            if half.next.is_none() {
                half.isn = Some(segment.seq);
                half.next = Some(seq);
            }
            let fact = if segment.ack.is_some() {
                TcpFact::SynAck
            } else {
                TcpFact::Syn
            };
            out(Output::Fact(fact));
        }
        if let Some(ack) = segment.ack
            && self.half(receiver).acknowledge(ack)
            && flags == 0
        {
            let struggled = std::mem::take(&mut self.half(receiver).struggles);
            if len == 0 || struggled {
                out(Output::Fact(TcpFact::Ack));
            }
        }
        let closed = segment.window == 0 && !segment.syn;
        if closed && !self.half(sender).window_closed {
            out(Output::Fact(TcpFact::ZeroWindow));
        }
        self.half(sender).window_closed = closed;

        if len > 0 {
            if len > self.half(sender).longest {
                self.half(sender).longest = len;
                out(Output::Fact(TcpFact::FullSize(len)));
            }
            let again = self.payload(sender, seq, segment, room, stamp, out);
            self.half(sender).spoke_with_syn |= segment.syn;
            if again > 0 {
                self.half(sender).struggles = true;
                out(Output::Fact(TcpFact::Retransmission(again)));
            }
        }
        if segment.fin {
            let end = seq.wrapping_add(len);
            let half = &mut self.half(sender);
            if half.is_plausible(end) && half.fin != Some(end) {
                half.fin = Some(end);
                half.next.get_or_insert(end);
                out(Output::Fact(TcpFact::Fin));
            }
        }
        let finished = self
            .halves
            .iter()
            .zip(self.deciding)
            .all(|(half, decides)| !decides || half.is_finished());
        if finished {
            self.close(stamp, out);
        }
    }

    /// Takes a segment's payload at `seq`; returns how many of its octets were seen before.
    fn payload(
        &mut self,
        sender: usize,
        seq: u32,
        segment: &Segment<'_>,
        room: usize,
        stamp: &Stamp,
        out: Out<'_>,
    ) -> u32 {
        let len = segment.len();
        self.half(sender).spoke = true;
        match self.half(sender).place(seq, len) {
            Place::Next { skip } => {
                self.deliver_now(sender, seq, skip, segment, stamp, out);
                skip
            }
            Place::Old => len,
            Place::Probe => 0,
            Place::Stray => {
                if self.half(sender).resynchronise(seq, len) {
                    out(Output::Lost {
                        sender,
                        octets: None,
                        stamp: *stamp,
                    });
                    self.deliver_now(sender, seq, 0, segment, stamp, out);
                }
                0
            }
            Place::Ahead => {
                let held = Held {
                    seq,
                    bytes: segment.payload.into(),
                    missing: segment.missing,
                    frame: *segment.frame,
                    stamp: *stamp,
                };
                let hold = if segment.payload.len() > room {
                    Hold::Full
                } else {
                    self.half(sender).hold(held)
                };
                match hold {
                    Hold::Held => {
                        let half = self.half(sender);
                        half.struggles = true;
                        let missing = half.next.map_or(0, |next| seq.wrapping_sub(next));
                        // Told once for each hole: what follows behind it says nothing new.
                        if half.holds_one() {
                            out(Output::Fact(TcpFact::Hole(missing)));
                        }
                        0
                    }
                    Hold::Known => len,
                    Hold::Full => {
                        // The holes before this segment will not be filled any more: what is behind them must go on.
                        while self.give_up(sender, stamp.at, out) {}
                        match self.half(sender).place(seq, len) {
                            Place::Next { skip } => {
                                self.deliver_now(sender, seq, skip, segment, stamp, out);
                                skip
                            }
                            Place::Ahead => {
                                let next = self.half(sender).next.unwrap_or(seq);
                                let lost = u64::from(seq.wrapping_sub(next));
                                out(Output::Lost {
                                    sender,
                                    octets: Some(lost),
                                    stamp: *stamp,
                                });
                                self.deliver_now(sender, seq, 0, segment, stamp, out);
                                0
                            }
                            Place::Old => len,
                            Place::Probe | Place::Stray => 0,
                        }
                    }
                }
            }
        }
    }

    /// Delivers a segment without its first `skip` octets, and all that waited for it.
    fn deliver_now(
        &mut self,
        sender: usize,
        seq: u32,
        skip: u32,
        segment: &Segment<'_>,
        stamp: &Stamp,
        out: Out<'_>,
    ) {
        let bytes = segment.payload.get(skip as usize..).unwrap_or_default();
        let cut = skip.saturating_sub(segment.payload.len() as u32);
        let missing = segment.missing.saturating_sub(cut);
        self.half(sender).advance(seq, segment.len());
        self.deliver(sender, bytes, missing, segment.frame, *stamp, out);
        self.drain(sender, stamp.at, out);
    }
}

#[cfg(test)]
mod tests;
