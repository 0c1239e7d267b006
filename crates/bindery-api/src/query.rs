//! Query parameters: only known ones, each once unless it may repeat, each within its bounds.

use std::str::FromStr;

use bindery_core::query::Substring;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// The parameters of one request, in the order sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes the query of a URL, and refuses names that the operation doesn't know.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let accepted = match known {
                    [] => "none are".to_owned(),
                    known => format!("accepted are `{}`", known.join("`, `")),
                };
                return Err(Problem::invalid(format!(
                    "unknown query parameter `{name}`; {accepted}"
                )));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// All pairs except those that say where a page begins and how long it is.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs()
            .filter(|(name, _)| !matches!(*name, "limit" | "cursor"))
    }

    /// All pairs, as sent.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of a parameter that may repeat.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs()
            .filter(move |(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// The value of a parameter that may be sent once.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::field(name, "is in the query twice; send it once")),
            (value, None) => Ok(value),
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.one(name)?
            .map(|value| {
                bool::from_str(value).map_err(|_| {
                    Problem::field(name, format!("`{value}` is neither `true` nor `false`"))
                })
            })
            .transpose()
    }

    /// One of an enum's values.
    pub(crate) fn choice<T>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Problem>
    where
        T: Copy,
    {
        self.one(name)?
            .map(|value| choose(name, value, choices))
            .transpose()
    }

    /// Any number of an enum's values.
    pub(crate) fn choices<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Vec<T>, Problem> {
        self.all(name)
            .map(|value| choose(name, value, choices))
            .collect()
    }

    /// A filter on names; absent means all.
    pub(crate) fn substring(&self, name: &str) -> Result<Substring, Problem> {
        let text = self.one(name)?.unwrap_or_default();
        match text.chars().count() {
            actual if actual > Substring::LENGTH_MAX => Err(Problem::field(
                name,
                format!(
                    "has {actual} characters; at most {} are accepted",
                    Substring::LENGTH_MAX
                ),
            )),
            _ => Ok(Substring::new(text)),
        }
    }
}

fn choose<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T, Problem> {
    let found = choices.iter().find(|(choice, _)| *choice == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let accepted: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        Problem::field(
            name,
            format!("`{value}` is not one of {}", accepted.join(", ")),
        )
    })
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Problem::invalid("the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_repeatable_ones_kept() {
        let query = Query::parse("status=A&name=a%20b+c&status=B&", &["status", "name"]).unwrap();
        assert_eq!(query.all("status").collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(query.one("name").unwrap(), Some("a b c"));
        assert!(query.one("status").is_err());
    }

    #[test]
    fn what_is_unknown_or_out_of_form_is_refused() {
        assert!(Query::parse("nmae=x", &["name"]).is_err());
        assert!(Query::parse("name=%ff", &["name"]).is_err());
        let query = Query::parse("a=1&b=True", &["a", "b"]).unwrap();
        assert!(query.flag("a").is_err() && query.flag("b").is_err());
        assert!(query.choice("a", &[("X", ())]).is_err());
        assert_eq!(query.flag("c").unwrap(), None);
    }
}
