//! Text that becomes markup: two ways in, of which one escapes and the other takes only what stands in the program.

use crate::event::text::sanitized;

/// A page on its way.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup that the program wrote.
    pub fn raw(&mut self, markup: &str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Any text, inside an element or a quoted attribute.
    pub fn text(&mut self, text: &str) -> &mut Html {
        escape(&mut self.0, text);
        self
    }

    /// A time; whole microseconds are enough for eyes.
    pub fn time(&mut self, at: &str) -> &mut Html {
        self.raw("<time datetime=\"").text(at).raw("\">");
        let shown = at.get(..26).unwrap_or(at).replace('T', " ");
        self.text(&shown).raw("</time>")
    }

    /// The data that the page was made from. Nothing in it can end its element (`<`) or a line of a script (U+2028, U+2029).
    pub fn data(&mut self, data: &impl serde::Serialize) -> &mut Html {
        let json = serde_json::to_string(data).unwrap_or_default();
        self.raw("<script type=\"application/json\" id=\"report\">");
        for c in json.chars() {
            match c {
                '<' => self.0.push_str("\\u003c"),
                '>' => self.0.push_str("\\u003e"),
                '&' => self.0.push_str("\\u0026"),
                '\u{2028}' => self.0.push_str("\\u2028"),
                '\u{2029}' => self.0.push_str("\\u2029"),
                c => self.0.push(c),
            }
        }
        self.raw("</script>")
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// Appends text for an element or a quoted attribute.
pub fn escape(out: &mut String, text: &str) {
    for c in sanitized(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup_and_no_data_ends_its_element() {
        let mut html = Html::default();
        let hostile = "</script><img src=x onerror=alert(1)>\" ' & \u{202e}\u{7}";
        html.text(hostile).data(&hostile);
        let page = html.into_text();
        assert_eq!(page.matches('<').count(), 2, "{page}");
        assert!(
            !page.contains('\u{202e}') || page.find('\u{202e}') > page.find("<script"),
            "{page}"
        );
        let json = page.split_once("id=\"report\">").unwrap().1;
        let json = json.strip_suffix("</script>").unwrap();
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), hostile);
    }
}
