//! What becomes of a session after its loss: it comes back, gracefully or not, is asked for in vain, or misses its restart time.

use super::reason::Judgement;
use super::wording::describe;
use super::{SessionLosses, ends, main_reason, recovered};
use crate::detect::{Board, Reason};
use crate::event::Event;
use crate::state::NetState;
use crate::state::sessions::SessionId;

impl SessionLosses {
    pub(super) fn up(&mut self, id: SessionId, event: &Event, net: &NetState, board: &mut Board) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(loss) = &mut track.loss else { return };
        if let (true, Some(at)) = (loss.relisted, loss.judge_at) {
            self.judgements.remove(&(at, id));
            track.loss = None;
            return;
        }
        loss.over = Some(event.at);
        self.came_back_gracefully(id, net, board);
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let Some(loss) = &mut track.loss else { return };
        let main = main_reason(&track.reasons);
        if loss.stays.take().is_some()
            && let (Some(key), Some(session), Some(judged)) =
                (track.finding, net.sessions.get(id), loss.judged.clone())
        {
            // What kept it down is over.
            let far = self.perspective.far_end(&net.sessions, session);
            let interfaces = self.perspective.interfaces(net, session);
            board.update(key, |finding| {
                finding.reason = Some(main);
                describe(finding, session, far, &interfaces, loss, &judged);
            });
        }
        if loss.judged.is_some()
            && let Some(key) = track.finding
        {
            board.update(key, |finding| recovered(finding, event.at));
        }
    }

    /// What both had agreed on was not seen, but the OPEN of the one that comes back says it: its restart was graceful.
    fn came_back_gracefully(&mut self, id: SessionId, net: &NetState, board: &mut Board) {
        let (Some(track), Some(session)) = (self.tracks.get_mut(&id), net.sessions.get(id)) else {
            return;
        };
        let Some(loss) = &mut track.loss else { return };
        let closed = |judged: &Judgement| {
            matches!(
                judged.reason,
                Reason::Unknown | Reason::TcpClosed | Reason::TcpReset
            )
        };
        if loss.agreed || loss.retained || !loss.judged.as_ref().is_none_or(closed) {
            return;
        }
        loss.retained = ends::returned_gracefully(session);
        if let (true, Some(key), Some(judged)) = (loss.retained, track.finding, &loss.judged) {
            let far = self.perspective.far_end(&net.sessions, session);
            let interfaces = self.perspective.interfaces(net, session);
            board.update(key, |finding| {
                describe(finding, session, far, &interfaces, loss, judged)
            });
        }
    }

    /// Somebody asks for a connection of a lost session: that it is asked in vain is told, and why, as soon as it is sure.
    pub(super) fn tried(
        &mut self,
        id: SessionId,
        event: &Event,
        net: &NetState,
        board: &mut Board,
    ) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let (Some(session), Some(key), Some(loss)) =
            (net.sessions.get(id), track.finding, track.loss.as_mut())
        else {
            return;
        };
        let attempts: u32 = session.ends.iter().map(|end| end.opening.syns).sum();
        // At the fourth and then now and then: each SYN of a peer that is away for a week is not worth a sentence.
        let due = attempts < 64 || attempts.is_power_of_two();
        let Some(judged) = loss.judged.clone().filter(|_| loss.over.is_none() && due) else {
            return;
        };
        let Some(stays) = ends::stays_down(net, session) else {
            return;
        };
        loss.stays = Some(stays);
        let far = self.perspective.far_end(&net.sessions, session);
        let interfaces = self.perspective.interfaces(net, session);
        board.update(key, |finding| {
            finding.support(event);
            describe(finding, session, far, &interfaces, loss, &judged);
        });
    }

    /// A restart that is not over within its time is a loss: the routes that were kept for it go (RFC 4724 §4.2).
    pub(super) fn give_up(&mut self, id: SessionId, net: &NetState, board: &mut Board) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let (Some(session), Some(key), Some(loss)) =
            (net.sessions.get(id), track.finding, track.loss.as_mut())
        else {
            return;
        };
        let Some(judged) = loss.judged.clone().filter(|_| loss.over.is_none()) else {
            return;
        };
        loss.gave_up = true;
        let far = self.perspective.far_end(&net.sessions, session);
        let interfaces = self.perspective.interfaces(net, session);
        board.update(key, |finding| {
            describe(finding, session, far, &interfaces, loss, &judged)
        });
    }
}
