//! One case of `liveconf test`: what stands in its `case.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{Document, Reading};
use super::field::Field;
use super::problem::Problem;
use super::section::Section;

/// What a case is about; everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Case {
    /// The configuration whose templates are rendered.
    pub config: Option<PathBuf>,
    /// The targets that are rendered; all without one.
    pub targets: Vec<String>,
    /// Templates that are rendered without a configuration, relative to the case.
    pub templates: Vec<String>,
    /// What answers in the place of every registry.
    pub fixture: Option<PathBuf>,
    /// Variables of the environment.
    pub variables: BTreeMap<String, String>,
    /// What has to fail, in the place of files that are expected.
    pub error: Option<ExpectedError>,
}

/// An error that a case expects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedError {
    /// Parts of its message, all of which it holds.
    pub says: Vec<String>,
    /// Where it is: the end of the file's path, and the line and column behind it where they are given.
    pub at: Option<String>,
}

/// Reads the text of the `case.yaml` in `folder`; all that is wrong with it comes at once.
pub fn read_case(
    file: &Path,
    text: String,
    folder: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Case, Vec<Problem>> {
    let name = file.display().to_string();
    let document = Document::parse(&name, folder, text).map_err(|problem| vec![problem])?;
    let reading = Reading::new(environment, &[]);
    let case = Field::root(&reading, &document).section().map(|mut section| case(&mut section));
    let (problems, _) = reading.finish(&[name]);
    match case {
        Some(case) if problems.is_empty() => Ok(case),
        _ => Err(problems),
    }
}

fn case(section: &mut Section<'_>) -> Case {
    let case = Case {
        config: section.path("config"),
        targets: section.texts("target").unwrap_or_default(),
        templates: section.texts("template").unwrap_or_default(),
        fixture: section.path("fixture"),
        variables: section.field("env").and_then(variables).unwrap_or_default(),
        error: section
            .section("error")
            .map(|mut error| ExpectedError { says: error.texts("says").unwrap_or_default(), at: error.text("at") }),
    };
    if !case.templates.is_empty() && (case.config.is_some() || !case.targets.is_empty()) {
        let hint = "leave out `config` and `target`, or `template`";
        section.problem("template", "a `template` is rendered without a configuration", Some(hint.into()));
    }
    if case.error.as_ref().is_some_and(|error| error.says.is_empty() && error.at.is_none()) {
        section.problem("error", "`error` says nothing of the error", Some("such as `says: no such key`".into()));
    }
    case
}

fn variables(field: Field<'_>) -> Option<BTreeMap<String, String>> {
    let entries = field.entries()?;
    Some(entries.into_iter().filter_map(|(_, value)| Some((value.key.to_owned(), value.text()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Case, Vec<String>> {
        let case = read_case(Path::new("a/case.yaml"), text.to_owned(), Path::new("/a"), &BTreeMap::new());
        case.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_case_may_say_everything_or_nothing() {
        assert_eq!(read("{}"), Ok(Case::default()));
        let case = read(
            "config: ../liveconf.yaml\ntarget: web\nfixture: f.yaml\nenv: {A: 1.10}\nerror: {says: [x], at: 'a.tera:1'}",
        );
        assert_eq!(
            case,
            Ok(Case {
                config: Some("/a/../liveconf.yaml".into()),
                targets: vec!["web".into()],
                templates: Vec::new(),
                fixture: Some("/a/f.yaml".into()),
                variables: [("A".to_owned(), "1.10".to_owned())].into(),
                error: Some(ExpectedError { says: vec!["x".into()], at: Some("a.tera:1".into()) }),
            })
        );
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (text, problem) in [
            ("fixtur: x", "a/case.yaml:1:1: unknown key `fixtur` (did you mean `fixture`?)"),
            ("error: {}", "a/case.yaml:1:8: `error` says nothing of the error (such as `says: no such key`)"),
            ("config: a\ntemplate: b", "a/case.yaml:2:11: a `template` is rendered without a configuration"),
            ("target: {a: b}", "a/case.yaml:1:9: `target` takes a list of texts, found a mapping"),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].starts_with(problem), "{problems:?}");
        }
    }
}
