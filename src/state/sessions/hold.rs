//! Hold timers: a hold time that passes in silence counts only once the same input shows a later packet, because captures end inside
//! hold times.

use std::time::Duration;

use crate::event::{Event, Timestamp};

use super::{DownCause, MAX_SESSIONS, Observer, SessionDelta, SessionId, Sessions, State};

/// RFC 4271 §4.2: a hold time is 0 or at least three seconds.
const SHORTEST_HOLD: Duration = Duration::from_secs(3);

#[derive(Copy, Clone, Debug)]
pub(super) struct SilentHold {
    id: SessionId,
    silent: usize,
    last: Timestamp,
    deadline: Timestamp,
    hold: Duration,
}

/// An established session that an input left alone for a hold time together with everything else, and who spoke on it since.
#[derive(Copy, Clone, Debug)]
pub(super) struct Pause {
    from: Timestamp,
    to: Timestamp,
    hold: Duration,
    spoke: [bool; 2],
}

impl Sessions {
    /// Notes the sessions that a pause of this event's whole input should have ended: whether they go on tells what the pause was.
    pub(super) fn wake(&mut self, event: &Event, before: Option<Timestamp>) {
        let Some(from) = before else { return };
        let pause = event.at.since(from);
        // The shortest hold time there is (RFC 4271 §4.2): this is looked at for every event.
        if pause < SHORTEST_HOLD {
            return;
        }
        for (index, session) in self.sessions.iter().enumerate() {
            let here = session
                .seen_on
                .iter()
                .any(|s| s.input == event.locator.input);
            let (Some(hold), true) = (session.hold_time(), session.state == State::Established)
            else {
                continue;
            };
            if here && !hold.is_zero() && pause >= hold {
                let note = Pause {
                    from,
                    to: event.at,
                    hold,
                    spoke: [false; 2],
                };
                self.woken.insert(SessionId(index as u32), note);
            }
        }
    }

    /// A message of an established session: where both ends go on with the connection although its hold time passed, it did not pass for
    /// them. Lost octets of the stream would have shown a pause of the capture ([`Sessions::apply`]), so the clock was set ahead.
    pub(super) fn goes_on(&mut self, id: SessionId, sender: usize, out: &mut Vec<SessionDelta>) {
        let Some(pause) = self.woken.get_mut(&id) else {
            return;
        };
        if let Some(spoke) = pause.spoke.get_mut(sender) {
            *spoke = true;
        }
        if pause.spoke == [true; 2] {
            let Pause { from, to, hold, .. } = *pause;
            // One pause is told once.
            self.woken.retain(|_, other| other.to != to);
            out.push(SessionDelta::ClockAhead { id, from, to, hold });
        }
    }

    pub(super) fn look_at_hold(&mut self, id: SessionId, now: Timestamp) {
        let blind = self.blind_until;
        let Some(session) = self.sessions.get_mut(id.0 as usize) else {
            return;
        };
        session.hold_check = None;
        let (Some(hold), Some((silent, last))) = (session.hold_time(), session.quietest()) else {
            return;
        };
        if session.state != State::Established
            || hold.is_zero()
            || session.views.of(Observer::Packets).told
        {
            return;
        }
        let heard = blind.map_or(last, |blind| last.max(blind));
        let deadline = heard + hold;
        if deadline > now {
            session.hold_check = Some(deadline);
            self.checks.insert((deadline, id));
        } else if self.silent.len() < MAX_SESSIONS {
            self.silent.push(SilentHold {
                id,
                silent,
                last,
                deadline,
                hold,
            });
        }
    }

    pub(super) fn confirm_silence(&mut self, event: &Event, out: &mut Vec<SessionDelta>) {
        let mut at = 0;
        while at < self.silent.len() {
            let held = self.silent[at];
            let Some(session) = self.sessions.get(held.id.0 as usize) else {
                break;
            };
            let alive = session
                .seen_on
                .iter()
                .any(|seen| seen.input == event.locator.input);
            if alive && event.at > held.deadline {
                self.silent.swap_remove(at);
                if self.slept(event, held.hold) {
                    // The session's next message tells: one of the old connection, or a new OPEN. Without one it is silent for real.
                    self.blind_until = self.blind_until.max(Some(event.at));
                    let due = event.at + held.hold;
                    if let Some(session) = self.sessions.get_mut(held.id.0 as usize)
                        && session.hold_check.is_none()
                    {
                        session.hold_check = Some(due);
                        self.checks.insert((due, held.id));
                    }
                    continue;
                }
                // It spoke after all (events of one instant, or the clock of another source).
                if session.quietest().is_some_and(|(_, last)| last > held.last) {
                    continue;
                }
                let cause = DownCause::Silence {
                    silent: held.silent,
                    last: held.last,
                    hold: held.hold,
                };
                self.down(held.id, held.deadline, Observer::Packets, cause, out);
            } else {
                at += 1;
            }
        }
    }

    /// Whether nothing at all came from this event's input for so long that a hold time passes with it: the machine was suspended, its
    /// clock was set forward, or the capture paused. A keepalive comes every third of the hold time (RFC 4271 §4.4), so two thirds of
    /// silence on top of that are needed.
    fn slept(&self, event: &Event, hold: Duration) -> bool {
        let before = self.given.get(&event.locator.input);
        before.is_some_and(|before| event.at.since(*before) >= hold * 2 / 3)
    }

    pub(super) fn schedule_hold(&mut self, id: SessionId) {
        let session = &mut self.sessions[id.0 as usize];
        if session.hold_check.is_some() || session.state != State::Established {
            return;
        }
        if let (Some(hold), Some((_, last))) = (session.hold_time(), session.quietest())
            && !hold.is_zero()
        {
            let at = last + hold;
            session.hold_check = Some(at);
            self.checks.insert((at, id));
        }
    }
}
