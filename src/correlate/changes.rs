//! Changes that people announced: annotations and maintenance windows. They are marks on the timeline: possible causes of what begins
//! soon after them, and silences for what lies wholly inside.
//!
//! Time alone proves nothing, so a change is never the root of an incident and never more than "possible".

use std::time::Duration;

use super::incident::Incident;
use super::maintenance::Window;
use crate::event::annotation::Annotation;
use crate::event::{Timestamp, WireText};
use crate::filter::Filter;

/// What begins within this after a change may be its effect: the longest hold time that is a vendor's default is 180 s (RFC 4271 §10 says
/// 90), and a neighbor, a health check or a damped route takes its time on top.
pub const REACH: Duration = Duration::from_secs(300);
/// Annotations remembered; the oldest make room. A deployment a minute fills it in a day.
const MAX_ANNOTATIONS: usize = 1440;
/// Changes told of one incident, the nearest ones.
const MAX_TOLD: usize = 8;

/// What kind of announcement it was.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum ChangeKind {
    Annotation,
    Maintenance,
}

impl ChangeKind {
    /// The contract's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Annotation => "annotation",
            ChangeKind::Maintenance => "maintenance",
        }
    }
}

/// A change that an incident follows.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Change {
    pub kind: ChangeKind,
    /// The annotation's text or the window's name, sanitised.
    pub text: String,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    pub author: Option<String>,
    /// From the change to the incident's first sign, nanoseconds.
    pub lag_ns: i64,
}

impl Change {
    /// Why it is mentioned: `2.0 s after annotation "deploy X" by root`.
    pub fn because(&self) -> String {
        let author = self
            .author
            .as_ref()
            .map(|author| format!(" by {author}"))
            .unwrap_or_default();
        let what = match self.kind {
            ChangeKind::Annotation => "annotation",
            ChangeKind::Maintenance => "the begin of maintenance window",
        };
        let seconds = self.lag_ns as f64 / 1e9;
        let lag = if seconds < 120.0 {
            format!("{seconds:.1} s")
        } else {
            format!("{:.0} min", seconds / 60.0)
        };
        format!("{lag} after {what} \"{}\"{author}", self.text)
    }
}

#[derive(Clone)]
struct Mark {
    annotation: Annotation,
    about: Vec<Filter>,
}

/// Everything that was announced.
#[derive(Clone, Default)]
pub struct Changes {
    windows: Vec<Window>,
    marks: Vec<Mark>,
    /// Annotations that had to make room.
    pub forgotten: u64,
}

impl Changes {
    /// The windows of the configuration, instead of those before.
    pub fn set_windows(&mut self, windows: Vec<Window>) {
        self.windows = windows;
    }

    /// Adds an annotation.
    pub fn add(&mut self, annotation: &Annotation) {
        if self.marks.len() == MAX_ANNOTATIONS {
            self.marks.remove(0);
            self.forgotten += 1;
        }
        self.marks.push(Mark {
            about: annotation.subjects.iter().map(about).collect(),
            annotation: annotation.clone(),
        });
    }

    /// Nothing was announced.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.marks.is_empty()
    }

    /// All annotations, in the order in which they were told.
    pub fn annotations(&self) -> impl Iterator<Item = &Annotation> {
        self.marks.iter().map(|mark| &mark.annotation)
    }

    /// Changes that an incident may follow from, nearest first.
    pub fn before(&self, incident: &Incident) -> Vec<Change> {
        if self.is_empty() {
            return Vec::new();
        }
        let (first, _) = incident.span();
        let lag = |from: Timestamp, until: Option<Timestamp>| {
            let over = until.unwrap_or(from).max(from);
            (from <= first && first <= over + REACH).then(|| first.minus(from))
        };
        let marks = self.marks.iter().filter_map(|mark| {
            let Annotation {
                from, until, text, ..
            } = &mark.annotation;
            let lag_ns = lag(*from, *until).filter(|_| mark.is_about(incident))?;
            Some(Change {
                kind: ChangeKind::Annotation,
                text: text.to_string(),
                from: *from,
                until: *until,
                author: mark.annotation.author.as_ref().map(WireText::to_string),
                lag_ns,
            })
        });
        let windows = self.windows.iter().filter_map(|window| {
            let (from, until) = window.when.holds(first)?;
            let lag_ns = lag(from, Some(until)).filter(|_| window.about.matches(incident))?;
            Some(Change {
                kind: ChangeKind::Maintenance,
                text: window.name.clone(),
                from,
                until: Some(until),
                author: None,
                lag_ns,
            })
        });
        let mut changes: Vec<Change> = marks.chain(windows).collect();
        changes.sort_by(|a, b| (a.lag_ns, a.kind, &a.text).cmp(&(b.lag_ns, b.kind, &b.text)));
        changes.truncate(MAX_TOLD);
        changes
    }

    /// What silences an incident at `now`: a window that matches it and holds all of it. With the time until which that holds.
    pub fn silence(&self, incident: &Incident, now: Timestamp) -> Option<(String, Timestamp)> {
        if self.is_empty() || incident.is_outage() {
            return None;
        }
        let (first, last) = incident.span();
        // What is still broken goes on.
        let last = if incident.is_broken() { now } else { last };
        let holds = |from: Timestamp, until: Timestamp| from <= first && last <= until;
        let windows = self.windows.iter().filter_map(|window| {
            let (from, until) = window.when.holds(first)?;
            (holds(from, until) && window.about.matches(incident))
                .then(|| (window.name.clone(), until))
        });
        let marks = self.marks.iter().filter_map(|mark| {
            let until = mark.annotation.until.filter(|_| mark.annotation.silence)?;
            (holds(mark.annotation.from, until) && mark.is_about(incident))
                .then(|| (mark.annotation.text.to_string(), until))
        });
        // The one that lasts longest; of several, the first by name.
        windows
            .chain(marks)
            .max_by(|a, b| (a.1, &b.0).cmp(&(b.1, &a.0)))
    }
}

impl Mark {
    fn is_about(&self, incident: &Incident) -> bool {
        self.about.is_empty() || self.about.iter().any(|filter| filter.matches(incident))
    }
}

/// What does not parse as a filter is looked for as it is.
fn about(subject: &WireText) -> Filter {
    let text = subject.to_string();
    text.parse().unwrap_or_else(|_| Filter::word(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::maintenance::When;
    use crate::detect::{Finding, Kind, Severity, Subject};

    const S: i64 = 1_000_000_000;

    fn incident(first: i64, last: i64) -> Incident {
        let subject = Subject::Link("up1".into());
        let mut root = Finding::at(
            Kind::LinkFlap,
            Severity::Warning,
            subject,
            Timestamp(first * S),
        );
        root.last = Timestamp(last * S);
        Incident::of(root)
    }

    fn annotation(from: i64, until: Option<i64>, subjects: &[&str]) -> Annotation {
        Annotation {
            from: Timestamp(from * S),
            until: until.map(|until| Timestamp(until * S)),
            text: "deploy X".into(),
            subjects: subjects.iter().map(|s| WireText::from(*s)).collect(),
            author: None,
            silence: until.is_some(),
        }
    }

    #[test]
    fn a_change_is_a_possible_cause_of_what_begins_soon_after_it_and_is_about_it() {
        for (from, until, subjects, lag) in [
            (98, None, &[][..], Some(2)),
            (98, None, &["link:up1"], Some(2)),
            (98, None, &["link:up2", "kind:link"], Some(2)),
            (98, None, &["link:up2"], None),
            // It began after the incident, or long before.
            (101, None, &[], None),
            (-300, None, &[], None),
            // It took its time.
            (-300, Some(50), &[], Some(400)),
        ] {
            let mut changes = Changes::default();
            changes.add(&annotation(from, until, subjects));
            let told = changes.before(&incident(100, 110));
            let found = told.first().map(|change| change.lag_ns / S);
            assert_eq!(found, lag, "{from} {until:?} {subjects:?}");
        }
        let mut changes = Changes::default();
        changes.add(&annotation(98, None, &[]));
        let told = changes.before(&incident(100, 110));
        assert_eq!(told[0].because(), "2.0 s after annotation \"deploy X\"");
    }

    #[test]
    fn only_what_lies_wholly_inside_is_silenced_and_no_outage_is() {
        let window = |from: i64, until: i64, about: &str| {
            let mut changes = Changes::default();
            changes.set_windows(vec![Window {
                name: "works".into(),
                when: When::Once {
                    from: Timestamp(from * S),
                    until: Timestamp(until * S),
                },
                about: about.parse().unwrap(),
            }]);
            changes
        };
        let now = Timestamp(120 * S);
        let quiet = incident(100, 110);
        assert!(window(90, 200, "").silence(&quiet, now).is_some());
        assert!(window(90, 200, "if:up1").silence(&quiet, now).is_some());
        assert!(window(90, 200, "if:up2").silence(&quiet, now).is_none());
        assert!(window(101, 200, "").silence(&quiet, now).is_none());
        assert!(window(90, 109, "").silence(&quiet, now).is_none());
        let mut broken = incident(100, 110);
        broken.root.broken.subject = true;
        assert!(window(90, 200, "").silence(&broken, now).is_some());
        assert!(window(90, 115, "").silence(&broken, now).is_none());
        let mut outage = incident(100, 110);
        outage.root.broken.default_route = true;
        assert!(window(90, 200, "").silence(&outage, now).is_none());
        outage.root.ended = Some(Timestamp(111 * S));
        assert!(window(90, 200, "").silence(&outage, now).is_some());
    }

    #[test]
    fn an_annotation_silences_only_when_it_says_so() {
        let mut changes = Changes::default();
        let mut given = annotation(90, Some(200), &[]);
        given.silence = false;
        changes.add(&given);
        assert!(
            changes
                .silence(&incident(100, 110), Timestamp(120 * S))
                .is_none()
        );
        given.silence = true;
        changes.add(&given);
        let (name, until) = changes
            .silence(&incident(100, 110), Timestamp(120 * S))
            .unwrap();
        assert_eq!((name.as_str(), until), ("deploy X", Timestamp(200 * S)));
    }
}
