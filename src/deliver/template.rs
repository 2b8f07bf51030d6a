//! A user's template for a webhook's body (minijinja). Strict: a name that does not exist is an error at the start, not an empty message at
//! 3 a.m.; every value is escaped for JSON; it ends, however it was written.

use std::fs;
use std::io;
use std::path::Path;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::{Notice, Stage, Urgency};

/// Instructions of a rendering: a thousand times what a long message needs.
const FUEL: u64 = 200_000;
/// Octets of a body: PagerDuty takes 512,000, others less.
const MOST: usize = 512_000;
const NAME: &str = "body.json";

/// A template that was tried once.
pub struct Template(Environment<'static>);

impl Template {
    /// Reads and tries it.
    pub fn read(path: &Path) -> io::Result<Template> {
        let wrong = |why: String| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {why}", path.display()),
            )
        };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let template = Template::new(text).map_err(wrong)?;
        template.render(&example()).map_err(wrong)?;
        Ok(template)
    }

    fn new(text: String) -> Result<Template, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Json);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, text)
            .map_err(|error| error.to_string())?;
        Ok(Template(environment))
    }

    /// The body for a notice. It must be JSON.
    pub fn render(&self, notice: &Notice) -> Result<String, String> {
        // The notice's own fields, and the whole alert as `alert`.
        let mut context = serde_json::to_value(notice).map_err(|error| error.to_string())?;
        context["alert"] = serde_json::from_str(&notice.body).unwrap_or_default();
        let template = self
            .0
            .get_template(NAME)
            .map_err(|error| error.to_string())?;
        let body = template
            .render(Value::from(Serde(context)))
            .map_err(|error| error.to_string())?;
        if body.len() > MOST {
            return Err(format!("the body has more than {MOST} octets"));
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&body)
            .map_err(|error| format!("what it makes is not JSON: {error}"))?;
        Ok(body)
    }
}

/// Something to try a template with.
fn example() -> Notice {
    Notice {
        id: "i-000000".to_owned(),
        rev: 1,
        stage: Stage::Opened,
        urgency: Urgency::Warning,
        kind: "session.down".to_owned(),
        title: "an example".to_owned(),
        text: "an example".to_owned(),
        steps: Vec::new(),
        advice: Vec::new(),
        host: Some("host".to_owned()),
        at: "2026-12-01T00:00:00.000000000Z".to_owned(),
        opened_at: "2026-12-01T00:00:00.000000000Z".to_owned(),
        facts: Vec::new(),
        link: None,
        body: "{}".to_owned(),
        test: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::notice::sample;

    fn rendered(text: &str) -> Result<String, String> {
        let mut notice = sample("i-1", 2, Stage::Opened);
        notice.title = "a \"quoted\" title".to_owned();
        Template::new(text.to_owned())?.render(&notice)
    }

    #[test]
    fn values_are_escaped_so_that_no_title_breaks_the_json() {
        let body = rendered(
            "{\"text\": {{ title }}, \"rev\": {{ rev }}, \"id\": {{ alert.incident.id }}}",
        )
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["text"], "a \"quoted\" title");
        assert_eq!(
            (value["rev"].as_u64(), value["id"].as_str()),
            (Some(2), Some("i-1"))
        );
    }

    #[test]
    fn a_wrong_name_a_loop_without_end_and_what_is_no_json_are_errors() {
        assert!(rendered("{\"text\": {{ titel }}}").is_err());
        assert!(
            rendered(
                "{% for a in range(9000) %}{% for b in range(9000) %}1{% endfor %}{% endfor %}"
            )
            .is_err()
        );
        assert!(rendered("hello {{ title }}").is_err());
    }
}
