//! Slack, Mattermost and Rocket.Chat read the same attachment; Teams reads an adaptive card. Limits as Alertmanager's notifiers keep them.

use serde_json::{Value, json};

use super::{Shape, cut};
use crate::deliver::{Notice, Urgency};

/// Runes of a title (Slack, Rocket.Chat).
const TITLE: usize = 1024;
/// Runes of a text: Mattermost takes 16,383; nobody reads a tenth of it on a telephone.
const TEXT: usize = 3000;
/// Steps of the chain that are shown.
const STEPS: usize = 15;
/// Octets of a card: Teams refuses more than 28 kB; runes may be three octets.
const CARD_TEXT: usize = 1500;

fn heading(notice: &Notice) -> String {
    let word = match (notice.is_over(), notice.urgency) {
        (true, _) => "RESOLVED",
        (_, Urgency::Critical) => "CRITICAL",
        (_, Urgency::Warning) => "WARNING",
        (_, Urgency::Info) => "INFO",
    };
    let test = if notice.test { "TEST " } else { "" };
    format!("{test}{word}: {}", notice.title)
}

fn color(notice: &Notice) -> &'static str {
    match (notice.is_over(), notice.urgency) {
        (true, _) => "#2eb886",
        (_, Urgency::Critical) => "#d00000",
        (_, Urgency::Warning) => "#daa038",
        (_, Urgency::Info) => "#439fe0",
    }
}

/// Text without markup: Slack's three entities, and an invisible joiner behind what begins a mention, a code, a link or bold print elsewhere.
fn plain(shape: Shape, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' if shape == Shape::Slack => out.push_str("&amp;"),
            '<' if shape == Shape::Slack => out.push_str("&lt;"),
            '>' if shape == Shape::Slack => out.push_str("&gt;"),
            '`' => out.push('\''),
            '@' | '*' | '_' | '~' | '[' | ']' | '!' => {
                out.push(c);
                // A word joiner (U+2060) is no space and is not drawn.
                out.push('\u{2060}');
            }
            c => out.push(c),
        }
    }
    out
}

pub(super) fn message(shape: Shape, notice: &Notice) -> String {
    let plain = |text: &str| plain(shape, text);
    let mut lines = vec![notice.text.clone()];
    lines.extend(notice.steps.iter().take(STEPS).cloned());
    if let Some(advice) = notice.advice.first() {
        lines.push(format!("try: {advice}"));
    }
    let fields: Vec<Value> = [
        ("Host", notice.host.as_deref().unwrap_or("-")),
        ("Incident", notice.id.as_str()),
        ("Kind", notice.kind.as_str()),
        (
            "Since",
            notice.opened_at.get(..19).unwrap_or(&notice.opened_at),
        ),
    ]
    .into_iter()
    .map(|(title, value)| json!({"title": title, "value": plain(value), "short": true}))
    .collect();
    let title = cut(&plain(&heading(notice)), TITLE);
    json!({
        "text": title,
        "attachments": [{
            "fallback": title,
            "color": color(notice),
            "title": title,
            "title_link": notice.link,
            "text": cut(&plain(&lines.join("\n")), TEXT),
            "fields": fields,
            // Nothing in it is read as markup, where the receiver can be told.
            "mrkdwn_in": [],
        }],
    })
    .to_string()
}

/// For a Teams workflow ("when a webhook request is received"), adaptive card 1.2.
pub(super) fn card(notice: &Notice) -> String {
    // Text blocks read a part of Markdown.
    let plain = |text: &str| plain(Shape::Teams, text);
    let tint = match (notice.is_over(), notice.urgency) {
        (true, _) => "good",
        (_, Urgency::Critical) => "attention",
        (_, Urgency::Warning) => "warning",
        (_, Urgency::Info) => "accent",
    };
    let fact = |title: &str, value: &str| json!({"title": title, "value": plain(value)});
    let mut body = vec![
        json!({"type": "TextBlock", "text": cut(&plain(&heading(notice)), TITLE), "weight": "bolder", "size": "medium", "wrap": true, "color": tint}),
        json!({"type": "TextBlock", "text": cut(&plain(&notice.text), CARD_TEXT), "wrap": true}),
        json!({"type": "FactSet", "facts": [
            fact("Host", notice.host.as_deref().unwrap_or("-")),
            fact("Incident", &notice.id),
            fact("Kind", &notice.kind),
            fact("Since", &notice.opened_at),
        ]}),
    ];
    let steps = cut(
        &plain(
            &notice
                .steps
                .iter()
                .take(STEPS)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n\n"),
        ),
        CARD_TEXT,
    );
    if !steps.is_empty() {
        body.push(json!({"type": "TextBlock", "text": steps, "wrap": true, "isSubtle": true}));
    }
    let mut content = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": body,
    });
    if let Some(link) = &notice.link {
        content["actions"] = json!([{"type": "Action.OpenUrl", "title": "Report", "url": link}]);
    }
    json!({
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": content}],
    })
    .to_string()
}
