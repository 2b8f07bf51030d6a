//! The shapes of webhooks: what each receiver's API wants to read, with its limits, and its markup kept out of our text.

mod alertmanager;
mod chat;
mod pagerduty;

use std::fmt;
use std::str::FromStr;

use super::Notice;
use super::secret::Secret;

/// What a receiver reads.
#[derive(Copy, Clone, Eq, PartialEq, Debug, Default)]
pub enum Shape {
    /// The alert, unchanged.
    #[default]
    Plain,
    /// As Alertmanager's webhook (version 4): hundreds of receivers know it.
    Alertmanager,
    Slack,
    Mattermost,
    RocketChat,
    /// A workflow that posts adaptive cards.
    Teams,
    /// Events API v2.
    PagerDuty,
}

impl Shape {
    const ALL: [(&'static str, Shape); 7] = [
        ("plain", Shape::Plain),
        ("alertmanager", Shape::Alertmanager),
        ("slack", Shape::Slack),
        ("mattermost", Shape::Mattermost),
        ("rocketchat", Shape::RocketChat),
        ("teams", Shape::Teams),
        ("pagerduty", Shape::PagerDuty),
    ];

    /// The body of a post.
    pub fn body(self, notice: &Notice, routing_key: Option<&Secret>) -> String {
        match self {
            Shape::Plain => notice.body.clone(),
            Shape::Alertmanager => alertmanager::body(notice),
            Shape::Slack | Shape::Mattermost | Shape::RocketChat => chat::message(self, notice),
            Shape::Teams => chat::card(notice),
            Shape::PagerDuty => pagerduty::event(notice, routing_key),
        }
    }

    /// Codes that mean "again" with this receiver.
    pub fn tries_again(self) -> &'static [u16] {
        match self {
            // PagerDuty's v1 way of saying 429, still seen.
            Shape::PagerDuty => &[403],
            _ => &[],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Shape::ALL.iter().find(|(_, shape)| shape == self);
        f.write_str(match name {
            Some(("plain", _)) | None => "webhook",
            Some((name, _)) => name,
        })
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(given: &str) -> Result<Shape, String> {
        let found = Shape::ALL.iter().find(|(name, _)| *name == given);
        found.map(|(_, shape)| *shape).ok_or_else(|| {
            let names: Vec<&str> = Shape::ALL.iter().map(|(name, _)| *name).collect();
            format!("there are {}", names.join(", "))
        })
    }
}

/// At most `most` characters; what is cut is shown to be.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::deliver::Stage;
    use crate::deliver::notice::sample;

    fn of(shape: Shape, notice: &Notice) -> Value {
        serde_json::from_str(&shape.body(notice, None)).unwrap()
    }

    #[test]
    fn every_shape_is_json_that_names_the_incident_and_keeps_its_limits() {
        let mut notice = sample("i-7f3a91", 3, Stage::Updated);
        notice.title = "x".repeat(5000);
        notice.steps = vec!["y".repeat(900); 60];
        for (name, shape) in Shape::ALL {
            let body = shape.body(&notice, None);
            let value: Value = serde_json::from_str(&body).unwrap();
            assert!(value.is_object(), "{name}");
            assert!(body.contains("i-7f3a91"), "{name}");
            assert!(body.len() < 30_000, "{name}: {}", body.len());
        }
        let said = of(Shape::Mattermost, &notice);
        assert!(
            said["attachments"][0]["text"]
                .as_str()
                .unwrap()
                .chars()
                .count()
                <= 16_383
        );
        let said = of(Shape::PagerDuty, &notice);
        assert_eq!(
            said["payload"]["summary"].as_str().unwrap().chars().count(),
            1024
        );
    }

    #[test]
    fn a_title_from_the_wire_is_no_markup_anywhere() {
        let mut notice = sample("i-1", 1, Stage::Opened);
        notice.title = "<!channel> *bold* `code` @here [x](http://evil.example) & more".to_owned();
        let slack = Shape::Slack.body(&notice, None);
        assert!(
            !slack.contains("<!channel>") && slack.contains("&lt;!\u{2060}channel&gt;"),
            "{slack}"
        );
        for shape in [Shape::Slack, Shape::Mattermost, Shape::RocketChat] {
            let body = shape.body(&notice, None);
            for bad in ["`code`", "*bold*", "@here", "](http", "@channel"] {
                assert!(!body.contains(bad), "{shape}: {bad}: {body}");
            }
        }
        let teams = Shape::Teams.body(&notice, None);
        assert!(!teams.contains("](http"), "{teams}");
    }

    #[test]
    fn pagerduty_hears_the_same_key_from_the_first_word_to_the_last() {
        let opened = of(Shape::PagerDuty, &sample("i-1", 1, Stage::Opened));
        let over = of(Shape::PagerDuty, &sample("i-1", 9, Stage::Resolved));
        assert_eq!(
            (&opened["event_action"], &over["event_action"]),
            (&"trigger".into(), &"resolve".into())
        );
        assert_eq!(opened["dedup_key"], over["dedup_key"]);
        assert_eq!(opened["payload"]["severity"], "critical");
    }

    #[test]
    fn alertmanagers_shape_says_firing_until_it_is_over() {
        let opened = of(Shape::Alertmanager, &sample("i-1", 1, Stage::Opened));
        assert_eq!(
            (&opened["version"], &opened["status"]),
            (&"4".into(), &"firing".into())
        );
        let over = of(Shape::Alertmanager, &sample("i-1", 9, Stage::Resolved));
        assert_eq!(
            over["alerts"][0]["endsAt"],
            "2026-12-01T01:02:03.000000004Z"
        );
        assert_eq!(
            opened["alerts"][0]["fingerprint"],
            over["alerts"][0]["fingerprint"]
        );
    }

    #[test]
    fn a_cards_version_and_type_are_what_a_teams_workflow_takes() {
        let card = of(Shape::Teams, &sample("i-1", 1, Stage::Opened));
        assert_eq!(card["type"], "message");
        let content = &card["attachments"][0];
        assert_eq!(
            content["contentType"],
            "application/vnd.microsoft.card.adaptive"
        );
        assert_eq!(content["content"]["type"], "AdaptiveCard");
    }
}
